"""The elements of the optical table: one file per kind of place, found by walking this folder."""
