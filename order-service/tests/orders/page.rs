//! `docs/API.md`: every operation is on it, and every line of it works.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, ensure};
use conformance::documents;

use crate::fixture::{TestResult, World};

const PAGE: &str = include_str!("../../../docs/API.md");

/// What the page says of `curl` and `last_id`, with the status of each answer on standard error, and nobody waits long.
const PRELUDE: &str = r#"
set -euo pipefail
curl() { command curl --silent --show-error --max-time 30 --output "$LAST" --write-out '%{http_code}\n' "$@" >&2; }
last_id() { sed 's/^{"id":\([0-9]*\).*/\1/' "$LAST"; }
"#;

/// The lines of the page that are run: everything between the first and the last block.
fn blocks() -> Vec<&'static str> {
    let blocks = PAGE
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let blocks: Vec<&str> = blocks.collect();
    blocks[1..blocks.len() - 1].to_vec()
}

/// `# operation -> status` before each line.
fn promised() -> Vec<(&'static str, &'static str)> {
    let promise = |line: &'static str| {
        let (operation, rest) = line.strip_prefix("# ")?.split_once(" -> ")?;
        Some((operation, rest.get(..3)?))
    };
    blocks()
        .iter()
        .flat_map(|block| block.lines())
        .filter_map(promise)
        .collect()
}

#[test]
fn every_operation_is_on_the_page() {
    let on_page: BTreeSet<&str> = promised().into_iter().map(|(operation, _)| operation).collect();
    let operations = documents().iter().flat_map(|document| &document.operations);
    let described: BTreeSet<&str> = operations.map(|operation| operation.id.as_str()).collect();
    assert_eq!(on_page, described);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_the_page_answers_what_it_says() -> TestResult {
    let world = World::with_broker(&[]).await?;
    let last = tempfile::NamedTempFile::new()?;
    let mut command = Command::new("bash");
    command
        .arg("-c")
        .arg(format!("{PRELUDE}{}", blocks().join("\n")))
        .env("LAST", last.path())
        .env("PRODUCT_URL", world.product.url())
        .env("PRODUCT_ADMIN_URL", world.product.admin_url())
        .env("ORDER_URL", world.order.url())
        .env("ORDER_ADMIN_URL", world.order.admin_url());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{said}");
    let answered: Vec<&str> = said.lines().collect();
    let expected: Vec<&str> = promised().into_iter().map(|(_, status)| status).collect();
    let differs = expected
        .iter()
        .zip(&answered)
        .position(|(expected, answered)| expected != answered);
    if let Some(at) = differs {
        let (operation, status) = promised().get(at).copied().context("a line")?;
        anyhow::bail!("{operation} is to answer {status}, not {}", answered[at]);
    }
    assert_eq!(answered.len(), expected.len(), "one promise for each line");
    let product = world
        .number("SELECT product_id FROM orders ORDER BY id LIMIT 1")
        .await?;
    world.settled(product).await
}
