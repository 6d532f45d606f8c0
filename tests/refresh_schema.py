"""Write parameters/site.schema.json, the JSON schema of a parameters file, for editors: `python
tests/refresh_schema.py`.

An editor with a YAML language server checks and completes a parameters file that begins with `#
yaml-language-server: $schema=site.schema.json`.
"""

import json

from cutover import site

PATH = site.PROJECT / "parameters" / "site.schema.json"


def text() -> str:
    schema = site.Site.model_json_schema()
    schema["properties"]["stores"] = {
        "type": "object",
        "description": "several stores: what differs for each from the rest of the file; null "
        "removes a key",
        "additionalProperties": {"type": ["object", "null"]},
    }
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Parameters of a mail cutover",
    }
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
