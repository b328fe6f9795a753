//! Real processes under fire, and how fast a network goes on without the agency on turn. Prints everything, writes JSON, and
//! ends with status 1 where something is violated or nothing was shown. What is done is in the library's `chaos`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::channel;

use clap::Parser;
use mingzhang_tests::chaos::fire::Fire;
use mingzhang_tests::chaos::fleet::Fleet;
use mingzhang_tests::chaos::kind::Kind;
use mingzhang_tests::chaos::takeover::Takeovers;
use mingzhang_tests::chaos::{Plan, report, run, zeros};
use mingzhang_tests::load::{Dice, EndOfLoad};
use mingzhang_tests::world::World;
use serde_json::{Value, json};

/// Submitters while agencies on turn are killed.
const SUBMITTERS: u64 = 4;
/// A build for trials is slower than what is measured.
const BUILD: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

/// Networks of real nodes under fire.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Decides which faults meet whom, in which order; drawn and printed if absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Sizes of the networks.
    #[arg(long, value_delimiter = ',', default_values_t = [4, 7])]
    nodes: Vec<usize>,
    /// How often each kind of fault is met in each network.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Only kinds whose name contains this.
    #[arg(long)]
    kind: Option<String>,
    /// How often the agency on turn is killed in a network of four, for the time to the next block.
    #[arg(long, default_value_t = 30)]
    kills: usize,
    /// Where the numbers go.
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| u64::from(getrandom::u32().expect("randomness")));
    println!("replay: scripts/chaos --seed {seed}");
    let wanted = |kind: &Kind| args.kind.as_ref().is_none_or(|words| kind.name().contains(words.as_str()));
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(wanted).collect();
    let mut outcomes = Vec::new();
    for nodes in args.nodes.iter().filter(|_| args.rounds > 0) {
        let outcome = run(&Plan { seed, nodes: *nodes, kinds: &kinds, rounds: args.rounds });
        println!("  {} records answered, each at one place on {nodes} nodes; auditor agrees", outcome.answered);
        outcomes.push(outcome);
    }
    let mut value = report(seed, &outcomes);
    if args.kills > 0 {
        let takeover = takeovers(args.kills, seed);
        println!("next block after the agency on turn is killed ({BUILD}): {takeover}");
        value["next_block_after_a_kill"] = takeover;
    }
    value["build"] = json!(BUILD);
    let missing: Vec<&str> = outcomes.iter().flat_map(|outcome| zeros(&kinds, outcome)).collect();
    if let Some(path) = &args.json {
        write(path, &value);
    }
    println!("{value:#}");
    if !missing.is_empty() {
        println!("FAILED: nothing was shown about {}", missing.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn takeovers(kills: usize, seed: u64) -> Value {
    let world = World::start(4);
    let mut fleet = Fleet::take_over(&world, seed);
    let fire = Fire::prepare(&world);
    std::thread::scope(|scope| {
        let _end = EndOfLoad(&fire.stop);
        let (sender, _progress) = channel();
        for submitter in 0..SUBMITTERS {
            let (fire, sender) = (&fire, sender.clone());
            let dice = Dice { seed: seed.wrapping_add(submitter), throws: 0 };
            scope.spawn(move || fire.documents(dice, &sender));
        }
        Takeovers::measure(&mut fleet, kills, &mut Dice { seed, throws: 0 }).json()
    })
}

fn write(path: &Path, value: &Value) {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).expect("the folder for the numbers can be made");
    }
    std::fs::write(path, format!("{value:#}\n")).expect("the file for the numbers can be written");
}
