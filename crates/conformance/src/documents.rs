//! The committed documents, as far as answers are checked against them.

use std::sync::LazyLock;

use anyhow::{Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

/// Prefixes that a path may leave out.
const PREFIXES: [&str; 3] = ["", "/v1", "/v2"];
const METHODS: [Method; 5] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// What one listener offers.
pub struct Document {
    /// Name of its file.
    pub name: &'static str,
    /// The whole of it.
    pub json: Value,
    /// Its operations.
    pub operations: Vec<Operation>,
}

/// One operation.
pub struct Operation {
    /// `operationId`.
    pub id: String,
    /// Method.
    pub method: Method,
    /// Path, with `{…}` for what varies.
    pub path: String,
    /// The whole of it.
    pub description: Value,
}

impl Operation {
    /// Codes of the errors it says it answers with.
    pub fn codes(&self) -> impl Iterator<Item = &str> {
        let responses = self.description["responses"].as_object().into_iter().flatten();
        let refusals = responses.filter(|(status, _)| status.as_str() >= "400");
        let examples = refusals.filter_map(|(_, response)| {
            let examples = &response["content"]["application/json"]["examples"];
            examples.as_object()
        });
        examples.flat_map(|examples| examples.keys().map(String::as_str))
    }
}

/// All documents of both services.
pub fn documents() -> &'static [Document] {
    static DOCUMENTS: LazyLock<Vec<Document>> = LazyLock::new(|| {
        macro_rules! committed {
            ($($name:literal)+) => {
                vec![$(Document::read($name, include_str!(concat!("../../../docs/openapi/", $name, ".json")))),+]
            };
        }
        committed!("product-service" "product-service-admin" "order-service" "order-service-admin")
    });
    &DOCUMENTS
}

/// Whether a document, as its service says it now, is the committed one. With `INSTA_UPDATE=always` it becomes that, as
/// snapshots do.
///
/// # Panics
/// When it is not.
pub fn is_committed(name: &str, document: &str) {
    let path = format!("{}/../../docs/openapi/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let now = format!("{document}\n");
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, &now).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        now == committed,
        "docs/openapi/{name}.json is not what the service says now"
    );
}

impl Document {
    fn read(name: &'static str, text: &str) -> Self {
        let json: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut operations = Vec::new();
        for (path, item) in json["paths"].as_object().into_iter().flatten() {
            for method in METHODS {
                let description = &item[method.as_str().to_lowercase()];
                if description.is_object() {
                    operations.push(Operation {
                        id: description["operationId"].as_str().unwrap_or_default().to_owned(),
                        method,
                        path: path.clone(),
                        description: description.clone(),
                    });
                }
            }
        }
        Self {
            name,
            json,
            operations,
        }
    }

    /// The operations at a path, whatever their method.
    pub fn at<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Operation> {
        let is_here = move |operation: &&Operation| {
            PREFIXES
                .iter()
                .any(|prefix| matches(&operation.path, &format!("{prefix}{path}")))
        };
        self.operations.iter().filter(is_here)
    }

    /// Checks a value against a schema of this document.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn validate(&self, schema: &Value, value: &Value) -> Result<()> {
        // References in a schema are from the root of the document.
        let rooted = json!({ "allOf": [schema], "components": self.json["components"] });
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&rooted)?;
        let faults: Vec<String> = validator
            .iter_errors(value)
            .map(|fault| format!("{}: {fault}", fault.instance_path))
            .collect();
        if !faults.is_empty() {
            bail!("{value} is not as described: {}", faults.join("; "));
        }
        Ok(())
    }
}

fn matches(template: &str, path: &str) -> bool {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some(part), Some(given)) if part.starts_with('{') => {
                // An empty part is another path.
                if given.is_empty() {
                    return false;
                }
            }
            (Some(part), Some(given)) if part == given => {}
            _ => return false,
        }
    }
}
