//! From a file to a checked WsGateway.

use std::io::Read as _;

use serde::Deserialize;
use wsgateway_config::{ConfigError, yaml};
use wsgateway_crds::{FieldError, ValidGateway, WsGateway, parse, parse_valid};

use crate::error::{Error, FieldErrors};

/// The demo: the sample that the documentation shows.
const DEMO: &str = include_str!("../../../manifests/samples/odin.yaml");

/// Largest manifest read: far above what an API server stores (1.5 MiB).
const LARGEST: u64 = 4 << 20;

/// A manifest's text and what to call it in messages.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    text: String,
}

/// As much of a document as says whether it is ours.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    api_version: String,
}

/// What the apiVersion of our objects begins with.
const OURS: &str = "wsgateway.dev/";

fn field_error(error: ConfigError) -> FieldError {
    let (ConfigError::Shape { path, message } | ConfigError::Value { path, message }) = error;
    FieldError { path, message }
}

impl Manifest {
    /// The built-in demo.
    pub(crate) fn demo() -> Self {
        Self { name: "the built-in demo".to_owned(), text: DEMO.to_owned() }
    }

    /// A manifest that a command has written.
    pub(crate) fn written(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), text }
    }

    /// Reads a file; `-` is standard input.
    pub(crate) fn read(path: &str) -> Result<Self, Error> {
        let (name, text) = if path == "-" {
            ("standard input".to_owned(), read_limited(std::io::stdin().lock()))
        } else {
            (path.to_owned(), std::fs::File::open(path).and_then(read_limited))
        };
        match text {
            Ok(text) => Ok(Self { name, text }),
            Err(source) => Err(Error::Read { name, source }),
        }
    }

    /// The one WsGateway in it, checked.
    pub(crate) fn gateway(&self) -> Result<ValidGateway, Error> {
        parse_valid(&self.document()?).map_err(|errors| self.wrong(errors))
    }

    /// Every WsGateway in it, checked; one error if there is none.
    pub(crate) fn gateways(&self) -> Vec<Result<ValidGateway, Error>> {
        let (ours, unreadable) = self.documents();
        let mut found: Vec<_> = unreadable.map(Err).into_iter().collect();
        if ours.is_empty() && found.is_empty() {
            return vec![Err(Error::Documents { name: self.name.clone(), count: 0 })];
        }
        let several = ours.len() > 1;
        found.extend(ours.iter().map(|text| {
            parse_valid(text).map_err(|errors| {
                let name = if several { self.name_with_line(text) } else { self.name.clone() };
                Error::Manifest { name, errors: FieldErrors(errors) }
            })
        }));
        found
    }

    /// The file, and where in it a document begins.
    fn name_with_line(&self, document: &str) -> String {
        let line = 1 + document.chars().take_while(|c| *c == '\n').count();
        format!("{}, line {line}", self.name)
    }

    /// The one WsGateway in it, as it is written.
    pub(crate) fn object(&self) -> Result<WsGateway, Error> {
        parse(&self.document()?).map_err(|errors| self.wrong(errors))
    }

    pub(crate) fn wrong(&self, errors: Vec<FieldError>) -> Error {
        Error::Manifest { name: self.name.clone(), errors: FieldErrors(errors) }
    }

    fn document(&self) -> Result<String, Error> {
        let (mut ours, unreadable) = self.documents();
        if let Some(error) = unreadable {
            return Err(error);
        }
        match (ours.pop(), ours.len()) {
            (Some(one), 0) => Ok(one),
            (last, others) => {
                let count = others + usize::from(last.is_some());
                Err(Error::Documents { name: self.name.clone(), count })
            }
        }
    }

    /// The documents that are WsGateways; with them one error of those that nobody can read.
    fn documents(&self) -> (Vec<String>, Option<Error>) {
        let mut documents = split(&self.text);
        // A single document is parsed whatever it says it is: then the error names the field that is wrong.
        if documents.len() == 1 {
            return (documents, None);
        }
        let mut unreadable = Vec::new();
        documents.retain(|text| match yaml::from_str::<Header>(text) {
            Ok(header) => header.kind == "WsGateway" || header.api_version.starts_with(OURS),
            Err(error) => {
                unreadable.push(field_error(error));
                false
            }
        });
        let error = (!unreadable.is_empty()).then(|| self.wrong(unreadable));
        (documents, error)
    }
}

fn read_limited(source: impl std::io::Read) -> std::io::Result<String> {
    let mut text = String::new();
    source.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(std::io::Error::other(format!("larger than {LARGEST} bytes")));
    }
    Ok(text)
}

/// The documents of a YAML stream that hold anything. Each begins with as many empty lines as stood before it, so that
/// line numbers in errors are those of the file.
fn split(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for (before, line) in text.lines().enumerate() {
        // A line that begins so is a separator wherever it stands: block text is indented.
        if line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
        {
            documents.push("\n".repeat(before + 1));
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    let holds_something = |document: &String| {
        document.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    };
    documents.retain(holds_something);
    documents
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Manifest {
        Manifest { name: "test".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn the_built_in_demo_is_valid() {
        let gateway = Manifest::demo().gateway().unwrap();
        let stream = &gateway.source.nats().unwrap().stream;
        assert_eq!((gateway.name.as_str(), stream.name.as_str()), ("odin", "ODIN_TOKENS"));
    }

    #[test]
    fn the_one_wsgateway_among_other_documents_is_found() {
        let text = format!(
            "---\nkind: Namespace\n--- # next\n{DEMO}\n---\n# nothing\n---\nkind: Secret\n"
        );
        assert_eq!(manifest(&text).gateway().unwrap().name, "odin");
    }

    #[test]
    fn two_wsgateways_or_none_among_documents_are_refused() {
        for (text, count) in [
            (format!("{DEMO}---\n{DEMO}"), 2),
            ("kind: A\n---\nkind: B\n".to_owned(), 0),
            (String::new(), 0),
        ] {
            let error = manifest(&text).gateway().unwrap_err().to_string();
            assert!(error.contains(&format!("{count} documents of kind WsGateway")), "{error}");
        }
    }

    #[test]
    fn another_kind_alone_is_refused_by_its_field() {
        let error = manifest("apiVersion: v1\nkind: Pod\n").gateway().unwrap_err().to_string();
        assert!(error.starts_with("test: apiVersion"), "{error}");
    }

    #[test]
    fn line_numbers_in_errors_are_those_of_the_file() {
        let documents = split("a: 1\n---\n\nb: 2\n");
        assert_eq!(documents, ["a: 1\n", "\n\n\nb: 2\n"]);
    }

    #[test]
    fn a_separator_inside_of_block_text_is_text() {
        assert_eq!(split("a: |\n  ---\n  b\n").len(), 1);
    }

    #[test]
    fn every_error_is_listed_with_its_path() {
        let text = DEMO
            .replace("maxAge: 30s", "maxAge: soon")
            .replace("nats://nats.messaging:4222", "nats//nats");
        let error = manifest(&text).gateway().unwrap_err().to_string();
        assert!(
            error.contains("2 errors")
                && error.contains("spec.stream.maxAge")
                && error.contains("spec.nats.servers"),
            "{error}"
        );
    }
}
