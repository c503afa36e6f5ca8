if (location.search === "?failed") document.getElementById("failed").hidden = false;
