"""JSON schemas for kubeconform, a file for each kind, in which unknown fields are errors.

kube-schemas.py openapi SWAGGER FOLDER     from Kubernetes' OpenAPI document (version 2)
kube-schemas.py definitions FOLDER         from CustomResourceDefinitions on stdin, a JSON document a line
"""

import json
import pathlib
import sys

# As of an `IntOrString` and of a `Quantity`, which OpenAPI calls strings.
SEVERAL = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": ["string", "integer"],
    "io.k8s.apimachinery.pkg.api.resource.Quantity": ["string", "number"],
}


def strict(schema):
    """Refuses unknown fields of every object whose fields are listed."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    # Without the texts, which are four fifths of it.
    out = {
        name: strict(value)
        for name, value in schema.items()
        if name != "description" or not isinstance(value, str)
    }
    listed = isinstance(schema.get("properties"), dict)
    is_open = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields") is True
    # Fields may be called as these words of a schema: then their values are schemas.
    if listed and not is_open and schema.get("type", "object") == "object":
        out["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string") is True:
        out.pop("anyOf", None)
        out["type"] = ["string", "integer"]
    return out


def file_of(kind, group, version):
    """The name by which kubeconform looks for a kind."""
    first = group.split(".")[0]
    return "-".join(part for part in [kind.lower(), first, version] if part) + ".json"


def write(folder, name, schema):
    """Writes one schema."""
    (folder / name).write_text(json.dumps(schema), encoding="utf-8")


def reachable(definitions, name):
    """The definitions that one needs: kubeconform resolves no reference to another file."""
    found, left = set(), [name]
    while left:
        one = left.pop()
        if one in found:
            continue
        found.add(one)
        text = json.dumps(definitions[one])
        left.extend(part.split('"')[0] for part in text.split('"#/definitions/')[1:])
    return found


def openapi(source, folder):
    """All kinds of Kubernetes."""
    definitions = json.loads(pathlib.Path(source).read_text(encoding="utf-8"))["definitions"]
    out, kinds = {}, {}
    for name, schema in definitions.items():
        out[name] = strict(schema)
        for suffix, types in SEVERAL.items():
            if name == suffix:
                out[name] = {"type": types}
        for gvk in schema.get("x-kubernetes-group-version-kind", []):
            target = file_of(gvk["kind"], gvk["group"], gvk["version"])
            kinds[target] = name
    for target, name in kinds.items():
        needed = {each: out[each] for each in sorted(reachable(out, name))}
        write(folder, target, {"$ref": "#/definitions/" + name, "definitions": needed})


def custom(folder):
    """Kinds of definitions."""
    for line in sys.stdin:
        spec = json.loads(line)["spec"]
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            write(folder, file_of(spec["names"]["kind"], spec["group"], version["name"]), schema)


def main():
    """Reads the command line."""
    what, *arguments = sys.argv[1:]
    folder = pathlib.Path(arguments[-1])
    folder.mkdir(parents=True, exist_ok=True)
    if what == "openapi":
        openapi(arguments[0], folder)
    else:
        custom(folder)


main()
