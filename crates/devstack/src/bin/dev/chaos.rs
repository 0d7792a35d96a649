//! `cargo dev chaos`: one fault in the running stack, or a run of random ones.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, Subcommand};
use devstack::chaos::Harm;

use crate::chaos_run::{self, ChaosRunArgs};
use crate::control::{FOR_MAX, Ongoing, Request};
use crate::project::Project;
use crate::show;

const COUNTDOWN_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Args)]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub(crate) struct ChaosArgs {
    #[command(subcommand)]
    run: Option<Many>,
    /// What to do to the running stack
    #[arg(value_enum, required = true)]
    fault: Option<Harm>,
    /// How long until it is healed, such as 5s, 500ms or 2m; at most 10m. What is killed comes back on its port
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    lasts: Duration,
    /// Which instance of product-service, from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=32))]
    instance: u16,
}

#[derive(Subcommand)]
enum Many {
    /// Random faults from a seed in the middle of a sale, in a stack of its own; heals, audits, names the seed that repeats it
    Run(ChaosRunArgs),
}

pub(crate) async fn run(args: &ChaosArgs) -> Result<ExitCode> {
    match (&args.run, args.fault) {
        (Some(Many::Run(args)), _) => chaos_run::run(args).await,
        (None, Some(harm)) => one(args, harm).await,
        (None, None) => anyhow::bail!("no fault is named"),
    }
}

async fn one(args: &ChaosArgs, harm: Harm) -> Result<ExitCode> {
    let name = harm.name();
    let (ongoing, what) = Ongoing::begin(&Project::find()?.stack_file(), args.request(harm)).await?;
    show::result(&format!(
        "{name}: {what}; healing in {:.1} s",
        args.lasts.as_secs_f64()
    ));
    let what = tokio::select! {
        what = ongoing.healed() => what?,
        never = count_down(args.lasts) => match never {},
    };
    show::result(&format!("{name}: {what}"));
    Ok(ExitCode::SUCCESS)
}

impl ChaosArgs {
    fn request(&self, harm: Harm) -> Request {
        Request {
            harm,
            instance: usize::from(self.instance) - 1,
            for_ms: u64::try_from(self.lasts.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Draws until it is dropped.
async fn count_down(lasts: Duration) -> std::convert::Infallible {
    let start = Instant::now();
    let total_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
    let bar = show::bar(total_ms, "");
    loop {
        tokio::time::sleep(COUNTDOWN_INTERVAL).await;
        let Some(bar) = &bar else { continue };
        let left = lasts.saturating_sub(start.elapsed());
        bar.set_position(total_ms - u64::try_from(left.as_millis()).unwrap_or(0));
        bar.set_message(if left.is_zero() {
            String::from("healing")
        } else {
            format!("healing in {:.1} s", left.as_secs_f64())
        });
    }
}

/// `5s`, `500ms`, `2m`: whole numbers, up to [`FOR_MAX`].
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => {
            return Err(String::from(
                "a whole number with its unit is wanted: 500ms, 5s, 2m",
            ));
        }
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} has no number"))?;
    let duration = Duration::from_millis(number.saturating_mul(unit_ms));
    if duration > FOR_MAX {
        return Err(format!("at most {} s", FOR_MAX.as_secs()));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_a_limit() {
        for (text, ms) in [
            ("5s", 5_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("0s", 0),
            ("10m", 600_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for wrong in [
            "",
            "5",
            "s",
            "-5s",
            "5 s",
            "1.5s",
            "5h",
            "601s",
            "99999999999999999999s",
            "9999999999999999m",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
