"""The bill of materials of the executable, as CycloneDX 1.5 in JSON.

Its components are the parts whose licences are gathered (see `licences`), so neither list can be
longer than the other. It has no serial number and no time: equal builds have equal ones.
"""

import json

from licences import Part

NAME = "sbom.cdx.json"


def document(parts: list[Part]) -> str:
    """The document; what it describes is the first of the parts."""
    described, *rest = map(_component, parts)
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": described},
        "components": sorted(rest, key=lambda one: str(one["name"])),
    }
    return json.dumps(bill, indent=1) + "\n"


def _component(part: Part) -> dict[str, object]:
    found: dict[str, object] = {"type": part.kind, "name": part.name}
    if part.version:
        found["version"] = part.version
    # Distributions word their licences as they like, so it is a name and not an expression.
    found["licenses"] = [{"license": {"name": part.licence}}]
    if part.purl:
        found["bom-ref"] = found["purl"] = part.purl
    return found
