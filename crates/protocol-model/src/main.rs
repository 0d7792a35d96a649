//! `protocol-model`: explores a named configuration of the protocol, as far as memory and patience go.

use std::process::ExitCode;
use std::time::Instant;

use protocol_model::config::{Amendments, Config};
use protocol_model::explore::{End, explore};
use protocol_model::mutants::Mutant;
use protocol_model::named;

const USAGE: &str = "\
protocol-model list                                                configurations and mutants
protocol-model explore --config NAME [--max-states N] [--mutant M] [--amended]  default: 20000000 states, 85 bytes each
protocol-model mutants [--max-states N]                            each mutant in every small configuration";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let states_max = match option("--max-states").map(|text| text.replace('_', "").parse::<usize>()) {
        None => None,
        Some(Ok(number)) => Some(number),
        Some(Err(_)) => return usage(),
    };
    match arguments.first().map(String::as_str) {
        Some("list") => {
            list();
            ExitCode::SUCCESS
        }
        Some("mutants") => {
            mutants(states_max.unwrap_or(300_000));
            ExitCode::SUCCESS
        }
        Some("explore") => {
            let Some(config) = option("--config").and_then(|name| named::find(&name)) else {
                return usage();
            };
            let mutant = option("--mutant");
            let found = Mutant::ALL
                .iter()
                .find(|m| mutant.as_deref() == Some(&format!("{m:?}")));
            if mutant.is_some() && found.is_none() {
                return usage();
            }
            let amended = arguments.iter().any(|argument| argument == "--amended");
            let amendments = if amended {
                Amendments::ALL
            } else {
                config.amendments
            };
            run(
                &Config {
                    mutant: found.copied(),
                    amendments,
                    ..*config
                },
                states_max.unwrap_or(20_000_000),
            )
        }
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn list() {
    for config in named::all() {
        println!("{:<18} {}", config.name, config.about);
    }
    println!();
    for mutant in Mutant::ALL {
        println!("{:<22} {mutant}", format!("{mutant:?}"));
    }
}

fn run(config: &Config, states_max: usize) -> ExitCode {
    let start = Instant::now();
    let report = explore(config, states_max, |states, depth| {
        eprint!("\r{states} states, depth {depth}  ")
    });
    eprintln!("\r");
    println!("{}: {}", config.name, config.about);
    print!(
        "{} states, depth {}, {:.1} s, ",
        report.states,
        report.depth,
        start.elapsed().as_secs_f64()
    );
    match report.end {
        End::Exhaustive => println!("exhaustive: no violation"),
        End::Capped => println!("capped: no violation so far"),
        End::Violated(trace) => {
            println!("violated after {} steps:\n{trace}", trace.steps.len());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The shortest counter-example of every mutant, and the configuration that needs the fewest states for it.
fn mutants(states_max: usize) {
    for mutant in Mutant::ALL {
        let mut best: Option<(usize, usize, &str)> = None;
        for config in named::WITHOUT_FAULTS.iter().chain(named::WITH_FAULTS) {
            let report = explore(&config.with(*mutant), states_max, |_, _| {});
            if let End::Violated(trace) = report.end {
                let found = (trace.steps.len(), report.states, config.name);
                best = Some(best.map_or(found, |best| best.min(found)));
            }
        }
        match best {
            Some((steps, states, name)) => println!("{mutant:?}: {steps} steps, {states} states in {name}"),
            None => println!("{mutant:?}: not caught"),
        }
    }
}
