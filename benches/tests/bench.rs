//! The bench itself, for seconds: it sells, checks the books, and writes what it says it writes.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::path::Path;
use std::process::{Command, Output};

use devstack::service::program_beside;
use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_benches");

async fn bench(arguments: &[&str], out: &Path) -> Output {
    let program = program_beside(BENCH, "product-service").await.unwrap();
    let mut command = Command::new(BENCH);
    command
        .args(["run", "--programs"])
        .arg(program.parent().unwrap())
        .arg("--out")
        .arg(out);
    command.args(arguments).output().unwrap()
}

#[tokio::test]
async fn a_round_of_some_designs_balances_its_books_and_writes_json_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let only = "hotstock,full_ledger_random_ids";
    let output = bench(&["--quick", "--rounds", "1", "--only", only], folder.path()).await;
    let (said, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("times the ordinary design"), "{said}");

    let json = std::fs::read_to_string(folder.path().join("bench.json")).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    for subject in ["hotstock", "ordinary", "nothing", "full_ledger_random_ids"] {
        let rate = json["subjects"][subject]["per_second"]["median"]
            .as_f64()
            .unwrap();
        assert!(rate > 0.0, "{subject}: {json}");
    }
    assert_eq!(json["rounds"], 1);
    assert!(json["machine"]["fsync_us"].as_f64().unwrap() > 0.0);
    let goals = json["goals"].as_array().unwrap();
    assert!(
        goals
            .iter()
            .any(|goal| goal["unit"] == "times" && goal["value"]["median"].as_f64() > Some(0.0))
    );

    let page = std::fs::read_to_string(folder.path().join("bench.html")).unwrap();
    assert!(
        page.contains("<svg") && page.contains("hotstock, one hot product"),
        "{page}"
    );
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "it needs nothing from elsewhere"
    );
}

#[tokio::test]
async fn what_cannot_be_measured_is_said_with_what_can() {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(&["--only", "everything"], folder.path()).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        errors.contains("everything") && errors.contains("redis_dead"),
        "{errors}"
    );
    assert!(!folder.path().join("bench.json").exists());
}
