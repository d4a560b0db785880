"""Cuts cargo-cyclonedx's list of a program's crates down to those that are linked, and adds the system's libraries.

cargo-cyclonedx reads cargo's metadata, which has the features of the whole workspace: more crates than one program links.
`cargo tree` knows those. Nothing in the result depends on where or when it was made. The texts of the crates' licences,
each once, go to a second file.
"""

import argparse
import collections
import json
import pathlib
import re


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("parts", "tree", "linked", "metadata", "system", "distribution", "rustc", "sbom", "licences"):
        parser.add_argument("--" + name, required=True)
    return parser.parse_args()


def linked_crates(path):
    """Pairs of name and version from the lines of `cargo tree --format {p}`."""
    lines = (line.split() for line in pathlib.Path(path).read_text().splitlines() if line.strip())
    return {(name, version.removeprefix("v")) for name, version, *_ in lines}


def tidy(part):
    """A crate of this repository has a purl of its own: one of crates.io with its name would be somebody else's."""
    purl = part.get("purl", "")
    if "download_url=file:" in purl:
        part["purl"] = f"pkg:generic/wsgateway/{part['name']}@{part['version']}"
    part.pop("components", None)
    return part


def system_part(line, distribution):
    name, version, architecture = line.split()
    vendor = distribution.split("-")[0]
    purl = f"pkg:deb/{vendor}/{name}@{version.replace('+', '%2B').replace(':', '%3A')}?arch={architecture}&distro={distribution}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "scope": "required", "purl": purl}


def standard_library(version):
    reference = f"pkg:generic/rust-std@{version}"
    licences = [{"expression": "MIT OR Apache-2.0"}]
    return {"type": "library", "bom-ref": reference, "name": "rust-std", "version": version, "scope": "required",
            "licenses": licences, "purl": reference}


def parts_list(options):
    text = pathlib.Path(options.parts).read_text().replace(f"path+file://{options.tree}", "path+file:///src")
    bom = json.loads(text)
    linked = linked_crates(options.linked)
    crates = [tidy(part) for part in bom["components"] if (part["name"], part["version"]) in linked]
    top = tidy(bom["metadata"]["component"])
    missing = linked - {(part["name"], part["version"]) for part in crates} - {(top["name"], top["version"])}
    if missing:
        raise SystemExit(f"images: error: cargo-cyclonedx does not list {sorted(missing)}")
    system = [system_part(line, options.distribution) for line in pathlib.Path(options.system).read_text().splitlines()]
    bom["components"] = sorted(crates + system + [standard_library(options.rustc)], key=lambda part: part["bom-ref"])
    keep(bom, top["bom-ref"])
    return bom


def keep(bom, top):
    """Dependencies between parts that are listed, and no others."""
    known = {part["bom-ref"] for part in bom["components"]} | {top}
    beside = [part["bom-ref"] for part in bom["components"] if part["bom-ref"].startswith(("pkg:deb/", "pkg:generic/rust-std"))]
    edges = {entry["ref"]: {other for other in entry.get("dependsOn", []) if other in known}
             for entry in bom["dependencies"] if entry["ref"] in known}
    edges.setdefault(top, set()).update(beside)
    edges.update({reference: set() for reference in beside})
    bom["dependencies"] = [{"ref": ref, "dependsOn": sorted(edges[ref])} for ref in sorted(edges)]


LICENCE_FILE = re.compile(r"^(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)


def licence_texts(options):
    """Every licence text of a linked crate, once, with the crates that bring it."""
    linked = linked_crates(options.linked)
    crates_of = collections.defaultdict(list)
    for package in json.loads(pathlib.Path(options.metadata).read_text())["packages"]:
        name, version = package["name"], package["version"]
        if (name, version) not in linked or not package["source"]:
            continue
        folder = pathlib.Path(package["manifest_path"]).parent
        files = sorted(file for file in folder.iterdir() if file.is_file() and LICENCE_FILE.match(file.name))
        for file in files:
            crates_of[file.read_text(errors="replace").strip()].append(f"{name} {version}")
        if not files:
            crates_of[f"{package['license']} (the crate has no file with the text)"].append(f"{name} {version}")
    blocks = sorted((sorted(crates), text) for text, crates in crates_of.items())
    rule = "=" * 100
    return "".join(f"{rule}\n{', '.join(crates)}\n{rule}\n\n{text}\n\n" for crates, text in blocks)


def main():
    options = arguments()
    pathlib.Path(options.sbom).write_text(json.dumps(parts_list(options), indent=1, sort_keys=True) + "\n")
    pathlib.Path(options.licences).write_text(licence_texts(options))


main()
