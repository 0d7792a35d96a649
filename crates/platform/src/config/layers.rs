//! Merging the layers. Every error names the key and the layer it came from.

use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

const ENVIRONMENT_PREFIX: &str = "HOTSTOCK__";

/// Why there is no valid configuration. Names the key, and the layer where the key was given.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file given cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A layer is not TOML.
    #[error("{layer} is not valid TOML: {message}")]
    Syntax {
        /// Which layer, in words.
        layer: String,
        /// The parser's words, with line and column.
        message: String,
    },
    /// The shipped file has no such key.
    #[error("unknown key `{key}` in {layer}; {known}")]
    UnknownKey {
        /// Dotted path of the key.
        key: String,
        /// Which layer, in words.
        layer: String,
        /// The keys that do exist beside it, in words.
        known: String,
    },
    /// The value is of another type than the shipped one.
    #[error("key `{key}` in {layer} must be {expected}, not {found}")]
    WrongType {
        /// Dotted path of the key.
        key: String,
        /// Which layer, in words.
        layer: String,
        /// The type the shipped file has.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// A `--set` argument without `=`.
    #[error("`{0}` is not of the form section.key=value")]
    MalformedFlag(String),
    /// An environment variable of ours that is not Unicode.
    #[error("environment variable {0} is not valid Unicode")]
    NotUnicode(String),
    /// The merged values do not fit the configuration's type; the text names the key.
    #[error("{0}")]
    Unfit(String),
    /// The value is outside its range.
    #[error("key `{key}` is {value}, allowed is {allowed}")]
    OutOfRange {
        /// Dotted path of the key.
        key: String,
        /// The value given.
        value: String,
        /// The range or condition, in words.
        allowed: String,
    },
}

/// Merges the layers into a `T`: `defaults_toml` (the shipped file), then `file`, then the environment variables
/// `HOTSTOCK__SECTION__KEY`, then `overrides` of the form `section.key=value`.
///
/// Texts of environment and flags are read as the type the shipped file has for the key (arrays as TOML arrays).
/// Ranges are not checked here: call the sections' `validate`.
///
/// # Errors
/// [`ConfigError`] on an unreadable file, bad syntax, an unknown key at any depth, or a value of the wrong type.
pub fn load<T: DeserializeOwned>(
    defaults_toml: &str,
    file: Option<&Path>,
    overrides: &[String],
) -> Result<T, ConfigError> {
    load_with_environment(defaults_toml, file, std::env::vars_os(), overrides)
}

fn load_with_environment<T: DeserializeOwned>(
    defaults_toml: &str,
    file: Option<&Path>,
    environment: impl Iterator<Item = (OsString, OsString)>,
    overrides: &[String],
) -> Result<T, ConfigError> {
    let mut merged = parse(defaults_toml, &Layer::Shipped)?;
    if let Some(path) = file {
        let layer = Layer::File(path);
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        overlay(&mut merged, parse(&text, &layer)?, "", &layer)?;
    }
    for (name, text) in ours(environment)? {
        let path: Vec<String> = name[ENVIRONMENT_PREFIX.len()..]
            .split("__")
            .map(str::to_ascii_lowercase)
            .collect();
        set_text(&mut merged, &path, &text, &Layer::Variable(&name))?;
    }
    for flag in overrides {
        let (key, text) = flag
            .split_once('=')
            .ok_or_else(|| ConfigError::MalformedFlag(flag.clone()))?;
        let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        set_text(&mut merged, &path, text, &Layer::Flag)?;
    }
    Value::Table(merged).try_into().map_err(|error: toml::de::Error| {
        // The library puts the key on a line of its own; an operator reads one line.
        ConfigError::Unfit(error.to_string().trim().replace('\n', " "))
    })
}

/// Where a value came from.
enum Layer<'a> {
    Shipped,
    File(&'a Path),
    Variable(&'a str),
    Flag,
}

impl fmt::Display for Layer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layer::Shipped => f.write_str("the shipped configuration"),
            Layer::File(path) => write!(f, "{}", path.display()),
            Layer::Variable(name) => write!(f, "environment variable {name}"),
            Layer::Flag => f.write_str("a --set flag"),
        }
    }
}

fn parse(text: &str, layer: &Layer<'_>) -> Result<Table, ConfigError> {
    text.parse::<Table>().map_err(|error| ConfigError::Syntax {
        layer: layer.to_string(),
        message: error.to_string(),
    })
}

/// The variables with our prefix, sorted so that errors do not depend on the order of the environment.
fn ours(
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut ours = Vec::new();
    for (name, text) in environment {
        let Some(name) = name.to_str().filter(|name| name.starts_with(ENVIRONMENT_PREFIX)) else {
            continue;
        };
        let text = text
            .into_string()
            .map_err(|_| ConfigError::NotUnicode(name.to_owned()))?;
        ours.push((name.to_owned(), text));
    }
    ours.sort();
    Ok(ours)
}

/// Puts every value of `over` into `base`, which must already have its key.
fn overlay(base: &mut Table, over: Table, prefix: &str, layer: &Layer<'_>) -> Result<(), ConfigError> {
    for (name, value) in over {
        let key = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        if !base.contains_key(&name) {
            return Err(unknown_key(key, base, layer));
        }
        match (&mut base[&name], value) {
            (Value::Table(inner), Value::Table(values)) => overlay(inner, values, &key, layer)?,
            (slot @ Value::Float(_), Value::Integer(whole)) => *slot = Value::Float(whole as f64),
            (slot, value) if slot.same_type(&value) => *slot = value,
            (slot, value) => {
                return Err(wrong_type(key, slot, value.type_str().to_owned(), layer));
            }
        }
    }
    Ok(())
}

/// Sets the value at `path` from a text, read as the type that is there.
fn set_text(root: &mut Table, path: &[String], text: &str, layer: &Layer<'_>) -> Result<(), ConfigError> {
    let key = path.join(".");
    let Some((name, sections)) = path.split_last() else {
        return Ok(());
    };
    let mut table = root;
    for section in sections {
        if !matches!(table.get(section), Some(Value::Table(_))) {
            return Err(unknown_key(key, table, layer));
        }
        match &mut table[section] {
            Value::Table(inner) => table = inner,
            _ => return Ok(()),
        }
    }
    if !table.contains_key(name) {
        return Err(unknown_key(key, table, layer));
    }
    let slot = &mut table[name];
    let parsed = match slot {
        Value::String(_) => Some(Value::String(text.to_owned())),
        Value::Integer(_) => text.trim().parse().ok().map(Value::Integer),
        Value::Float(_) => text.trim().parse().ok().map(Value::Float),
        Value::Boolean(_) => text.trim().parse().ok().map(Value::Boolean),
        Value::Array(_) | Value::Datetime(_) => text
            .trim()
            .parse::<Value>()
            .ok()
            .filter(|value| slot.same_type(value)),
        Value::Table(_) => None,
    };
    match parsed {
        Some(value) => *slot = value,
        None => return Err(wrong_type(key, slot, format!("`{text}`"), layer)),
    }
    Ok(())
}

fn unknown_key(key: String, siblings: &Table, layer: &Layer<'_>) -> ConfigError {
    let names: Vec<&str> = siblings.keys().map(String::as_str).collect();
    ConfigError::UnknownKey {
        key,
        layer: layer.to_string(),
        known: format!("known here: {}", names.join(", ")),
    }
}

fn wrong_type(key: String, slot: &Value, found: String, layer: &Layer<'_>) -> ConfigError {
    let expected = match slot {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a point in time",
        Value::Array(_) => "a list in brackets",
        Value::Table(_) => "a section with keys",
    };
    ConfigError::WrongType {
        key,
        layer: layer.to_string(),
        expected,
        found,
    }
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;
