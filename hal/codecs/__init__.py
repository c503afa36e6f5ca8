"""Command formats on a link: lines, command lines with a prompt, SCPI, frames, JSON-RPC."""
