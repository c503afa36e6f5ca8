// node validate_asyncapi.js FILE ...: one line per file, "valid" or the errors of AsyncAPI's own parser.
const fs = require("node:fs");
const { Parser } = require("@asyncapi/parser");

(async () => {
  for (const file of process.argv.slice(2)) {
    const { document, diagnostics } = await new Parser().parse(fs.readFileSync(file, "utf8"));
    const wrong = diagnostics.filter((d) => d.severity <= 1).map((d) => `${d.code} at ${d.path.join(".")}`);
    console.log(document && wrong.length === 0 ? "valid" : wrong.join("; ") || "no document");
  }
})();
