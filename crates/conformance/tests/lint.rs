//! What every operation of the committed documents has to have, and that what they show as examples is what they describe.

use std::collections::BTreeSet;

use conformance::{Operation, documents};
use contracts::error::ErrorCode;
use serde_json::Value;

fn each(mut look: impl FnMut(&str, &Operation)) {
    for document in documents() {
        for operation in &document.operations {
            look(&format!("{}: {}", document.name, operation.id), operation);
        }
    }
}

#[test]
fn an_operation_has_an_id_of_its_own_a_summary_and_a_tag() {
    for document in documents() {
        assert!(
            document.json["openapi"]
                .as_str()
                .is_some_and(|version| version.starts_with("3.1"))
        );
        let mut ids = BTreeSet::new();
        for operation in &document.operations {
            let (name, id) = (document.name, &operation.id);
            let is_camel = id.chars().all(|letter| letter.is_ascii_alphanumeric())
                && id.starts_with(|letter: char| letter.is_ascii_lowercase());
            assert!(is_camel && ids.insert(id.clone()), "{name}: {id}");
            let summary = operation.description["summary"].as_str().unwrap_or_default();
            assert!(
                !summary.is_empty() && !summary.ends_with('.'),
                "{name}: {id}: {summary}"
            );
            let tags: Vec<&Value> = operation.description["tags"]
                .as_array()
                .into_iter()
                .flatten()
                .collect();
            let known: Vec<&Value> = document.json["tags"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|tag| &tag["name"])
                .collect();
            assert!(
                tags.len() == 1 && known.contains(&tags[0]),
                "{name}: {id}: {tags:?}"
            );
        }
    }
}

#[test]
fn what_varies_in_a_path_is_described_and_nothing_else() {
    each(|what, operation| {
        let in_path: BTreeSet<&str> = operation
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        let parameters = operation.description["parameters"].as_array();
        let of_path = parameters
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "path");
        let described: BTreeSet<&str> = of_path
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        assert_eq!(in_path, described, "{what}");
    });
}

#[test]
fn every_refusal_is_described_by_the_one_schema_with_an_example_per_code() {
    each(|what, operation| {
        let responses = operation.description["responses"].as_object();
        for (status, response) in responses.into_iter().flatten() {
            assert!(
                response["description"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{what} {status}"
            );
            if status.as_str() < "400" {
                continue;
            }
            let content = &response["content"]["application/json"];
            assert_eq!(
                content["schema"]["$ref"], "#/components/schemas/ErrorBody",
                "{what} {status}"
            );
            let examples = content["examples"].as_object().into_iter().flatten();
            let codes: Vec<ErrorCode> = examples
                .filter_map(|(word, example)| {
                    assert_eq!(example["value"]["error"], **word, "{what}");
                    serde_json::from_value(word.as_str().into()).ok()
                })
                .collect();
            assert!(!codes.is_empty(), "{what} {status}");
            assert!(
                codes.iter().all(|code| code.status().to_string() == *status),
                "{what} {status}: {codes:?}"
            );
            let says_when = response["headers"]["Retry-After"].is_object();
            assert!(
                says_when || !matches!(status.as_str(), "429" | "503"),
                "{what} {status}"
            );
        }
        let has_body = operation.description["requestBody"].is_object();
        for status in ["413", "415"] {
            let is_described = operation.description["responses"][status].is_object();
            assert!(is_described == has_body, "{what} {status}");
        }
    });
}

#[test]
fn every_example_is_what_its_schema_describes() {
    let mut checked = 0;
    for document in documents() {
        for operation in &document.operations {
            let responses = operation.description["responses"].as_object();
            for (_, response) in responses.into_iter().flatten() {
                let content = &response["content"]["application/json"];
                for (word, example) in content["examples"].as_object().into_iter().flatten() {
                    let valid = document.validate(&content["schema"], &example["value"]);
                    assert!(valid.is_ok(), "{} {word}: {valid:?}", operation.id);
                    checked += 1;
                }
            }
        }
        for (name, schema) in document.json["components"]["schemas"]
            .as_object()
            .into_iter()
            .flatten()
        {
            for (field, described) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(example) = described.get("example") {
                    let valid = document.validate(described, example);
                    assert!(valid.is_ok(), "{name}.{field}: {valid:?}");
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 100, "{checked} examples");
}
