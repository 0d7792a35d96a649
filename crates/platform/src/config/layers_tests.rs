use super::*;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

const SHIPPED: &str = r#"
[server]
bind = "127.0.0.1:80"
workers = 0
ratio = 0.5
on = false
hosts = ["a"]

[server.inner]
depth = 1
"#;

#[derive(Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Config {
    server: Server,
}

#[derive(Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Server {
    bind: String,
    workers: u16,
    ratio: f64,
    on: bool,
    hosts: Vec<String>,
    inner: Inner,
}

#[derive(Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Inner {
    depth: i64,
}

fn load_all(file: Option<&str>, environment: &[(&str, &str)], flags: &[&str]) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("own.toml");
    if let Some(text) = file {
        std::fs::write(&path, text).unwrap();
    }
    let environment = environment
        .iter()
        .map(|(name, text)| (OsString::from(name), OsString::from(text)));
    let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
    load_with_environment(SHIPPED, file.map(|_| path.as_path()), environment, &flags)
}

fn refusal(file: Option<&str>, environment: &[(&str, &str)], flags: &[&str]) -> String {
    load_all(file, environment, flags).unwrap_err().to_string()
}

#[test]
fn the_shipped_file_alone_is_a_configuration() {
    let config = load_all(None, &[], &[]).unwrap();
    assert_eq!((config.server.workers, config.server.inner.depth), (0, 1));
}

#[test]
fn the_later_layer_wins_and_leaves_the_rest() {
    let file = "[server]\nworkers = 1\nratio = 2\n[server.inner]\ndepth = 5";
    let env = [
        ("HOTSTOCK__SERVER__WORKERS", "2"),
        ("HOTSTOCK__SERVER__INNER__DEPTH", "-6"),
        ("HOME", "/x"),
    ];
    let config = load_all(
        Some(file),
        &env,
        &["server.workers=3", "server.on=true", "server.bind=a=b"],
    )
    .unwrap();
    assert_eq!(
        config.server,
        Server {
            bind: "a=b".into(),
            workers: 3,
            ratio: 2.0,
            on: true,
            hosts: vec!["a".into()],
            inner: Inner { depth: -6 }
        }
    );
}

#[test]
fn texts_of_the_environment_are_read_as_the_type_of_the_key() {
    let env = [
        ("HOTSTOCK__SERVER__BIND", "123"),
        ("HOTSTOCK__SERVER__RATIO", "1e3"),
        ("HOTSTOCK__SERVER__ON", "true"),
        ("HOTSTOCK__SERVER__HOSTS", r#"["x", "y"]"#),
    ];
    let server = load_all(None, &env, &[]).unwrap().server;
    assert_eq!(
        (server.bind.as_str(), server.ratio, server.on),
        ("123", 1000.0, true)
    );
    assert_eq!(server.hosts, ["x", "y"]);
}

#[test]
fn unknown_keys_are_refused_by_name_in_every_layer() {
    for (message, key, layer) in [
        (
            refusal(Some("[server]\nport = 1"), &[], &[]),
            "`server.port`",
            "own.toml",
        ),
        (
            refusal(Some("[server.inner]\nwidth = 1"), &[], &[]),
            "`server.inner.width`",
            "own.toml",
        ),
        (refusal(Some("[web]\nport = 1"), &[], &[]), "`web`", "own.toml"),
        (
            refusal(None, &[("HOTSTOCK__SERVER__PORT", "1")], &[]),
            "`server.port`",
            "HOTSTOCK__SERVER__PORT",
        ),
        (
            refusal(None, &[("HOTSTOCK__WEB__PORT", "1")], &[]),
            "`web.port`",
            "HOTSTOCK__WEB__PORT",
        ),
        (
            refusal(None, &[("HOTSTOCK__SERVER__BIND__X", "1")], &[]),
            "`server.bind.x`",
            "environment",
        ),
        (refusal(None, &[], &["server.port=1"]), "`server.port`", "--set"),
        (refusal(None, &[], &["=1"]), "``", "--set"),
    ] {
        assert!(message.contains("unknown key"), "{message}");
        assert!(message.contains(key) && message.contains(layer), "{message}");
    }
    assert!(
        refusal(None, &[], &["server.port=1"]).contains("workers"),
        "names the known keys"
    );
}

#[test]
fn values_of_the_wrong_type_are_refused_by_name() {
    for (message, expected) in [
        (
            refusal(Some("[server]\nworkers = \"2\""), &[], &[]),
            "`server.workers`",
        ),
        (
            refusal(Some("[server]\nworkers = 1.5"), &[], &[]),
            "`server.workers`",
        ),
        (refusal(Some("server = 1"), &[], &[]), "`server`"),
        (
            refusal(None, &[("HOTSTOCK__SERVER__WORKERS", "two")], &[]),
            "`server.workers`",
        ),
        (
            refusal(None, &[("HOTSTOCK__SERVER__WORKERS", "")], &[]),
            "`server.workers`",
        ),
        (
            refusal(None, &[("HOTSTOCK__SERVER__INNER", "1")], &[]),
            "`server.inner`",
        ),
        (refusal(None, &[], &["server.on=yes"]), "`server.on`"),
        (refusal(None, &[], &["server.hosts=x"]), "`server.hosts`"),
        (refusal(None, &[], &["server.workers=-1"]), "server.workers"),
        (refusal(None, &[], &["server.workers=70000"]), "server.workers"),
    ] {
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_flag_without_a_value_and_a_missing_file_are_errors() {
    assert!(refusal(None, &[], &["server.workers"]).contains("section.key=value"));
    let missing = load::<Config>(SHIPPED, Some(Path::new("/nonexistent/own.toml")), &[]).unwrap_err();
    assert!(missing.to_string().contains("/nonexistent/own.toml"), "{missing}");
    assert!(refusal(Some("[server"), &[], &[]).contains("own.toml is not valid TOML"));
}

#[test]
fn a_shipped_file_that_lacks_a_key_of_the_type_is_refused() {
    let error = load::<Config>("[server]\nworkers = 1", None, &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("missing field"), "{error}");
}

proptest! {
    #[test]
    fn any_flag_is_either_applied_or_refused(flag in ".{0,60}") {
        let _ = load_all(None, &[], &[&flag]);
    }

    #[test]
    fn every_number_reaches_its_key_from_every_layer(workers: u16, layer in 0..3) {
        let text = workers.to_string();
        let config = match layer {
            0 => load_all(Some(&format!("[server]\nworkers = {text}")), &[], &[]),
            1 => load_all(None, &[("HOTSTOCK__SERVER__WORKERS", &text)], &[]),
            _ => load_all(None, &[], &[&format!("server.workers={text}")]),
        };
        prop_assert_eq!(config.unwrap().server.workers, workers);
    }
}

#[test]
fn every_key_of_the_shipped_files_is_commented() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");
    for service in ["product-service", "order-service"] {
        let shipped = std::fs::read_to_string(format!("{folder}/{service}.toml")).unwrap();
        let mut before = "";
        for line in shipped.lines() {
            if line.contains(" = ") && !line.starts_with('#') {
                assert!(before.starts_with("# "), "{service}: no comment above `{line}`");
            }
            before = line;
        }
    }
}
