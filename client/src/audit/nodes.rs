//! What the nodes of a context sealed and say. Their newest checkpoints are verified before one of them is asked for a
//! trail, so that no single node can show old books. Afterwards what they say of the proven trail are claims that change no
//! verdict; that they agree tells an auditor how many he could have asked, and one that differs is named.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use mingzhang_genesis::Genesis;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::proof::{Passage, SubjectKind, TrailProof};
use mingzhang_ledger::seal::Note;
use mingzhang_ledger::verify::{ProvenBundle, SealedNote};
use serde_json::{Value, json};

use super::fetch;
use crate::command::tx::local_time;
use crate::context::Network;
use crate::handoffs;
use crate::kept::{Order, compare};
use crate::node_api::NodeApi;
use crate::output::{Failure, Language, exit};
use crate::submit::now_ms;
use crate::verify::authorities_after;

/// How long a node that follows a little later may take to the proven checkpoint.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(200);
/// What a busy machine, and clocks that differ, may add to a heartbeat.
const GRACE_MS: u64 = 300_000;
/// Seals of an epoch to which no hand-off is at hand.
const UNKNOWN_EPOCH: Code = Code(4107);
/// A checkpoint that is older than the one kept.
const OLDER: Code = Code(4115);

/// The newest checkpoints that the nodes of a context give.
pub struct Newest {
    /// The nodes whose checkpoint verifies, with its size; the newest first, else in the context's order.
    pub proven: Vec<(String, u64)>,
    /// The others, and why.
    others: Vec<(String, Failure)>,
}

impl Newest {
    /// The largest size that a quorum is known to have sealed.
    pub fn size(&self) -> u64 {
        self.proven.first().map_or(0, |(_, size)| *size)
    }
}

/// Asks every node of the context for its newest checkpoint and verifies it. A failure if none has one, or if all are
/// older than the one that is kept, for a moment too.
pub fn newest(network: &Network, api: &NodeApi) -> Result<Newest, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match now(network, api) {
            Err(failure) if failure.code == Some(OLDER) && Instant::now() < deadline => std::thread::sleep(PAUSE),
            told => return told,
        }
    }
}

fn now(network: &Network, api: &NodeApi) -> Result<Newest, Failure> {
    let texts = of_each(api, api.nodes(), |node| Ok(node.get("/checkpoint")?.success()?.text()));
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for (node, text) in texts {
        match text.and_then(|text| Ok((verified(network, &api.only(&node), &text)?, text))) {
            Ok((sealed, text)) => found.push((node, sealed, text)),
            Err(failure) => others.push((node, failure)),
        }
    }
    found.sort_by_key(|(_, sealed, _)| Reverse(sealed.checkpoint.size));
    // The first that leads on from what is kept is kept, so that the others are held against it.
    let mut proven = Vec::new();
    for (node, sealed, text) in found {
        match compare((network, api), &text, &sealed) {
            Ok(Order::Older(failure)) if proven.is_empty() => return Err(failure),
            Ok(_) => proven.push((node, sealed.checkpoint.size)),
            Err(failure) if failure.exit == exit::INCONCLUSIVE => others.push((node, failure)),
            Err(failure) => return Err(failure),
        }
    }
    if proven.is_empty() { Err(none(others)) } else { Ok(Newest { proven, others }) }
}

/// A checkpoint that a quorum of the right set sealed.
fn verified(network: &Network, node: &NodeApi, text: &str) -> Result<SealedNote, Failure> {
    let genesis = &network.genesis;
    let judged = |passages: &[Passage]| -> Result<SealedNote, Failure> {
        let sealed = authorities_after(genesis, passages)?.checkpoint(text);
        sealed.map_err(|problem| Failure::coded(problem.code, problem.detail))
    };
    match judged(&handoffs::kept(genesis)) {
        Err(failure) if failure.code == Some(UNKNOWN_EPOCH) => judged(&handoffs::fetch(genesis, node)?),
        told => told,
    }
}

/// Why no node gave a sealed checkpoint: false seals before another network, that before silence.
fn none(others: Vec<(String, Failure)>) -> Failure {
    let reasons: Vec<&str> = others.iter().map(|(_, failure)| failure.detail.as_str()).collect();
    let reasons = reasons.join("; ");
    let unreachable = Failure::unreachable(reasons.clone());
    let weight = |failure: &Failure| match failure.exit {
        exit::FAILED => 0,
        exit::UNREACHABLE => 2,
        _ => 1,
    };
    let gravest = others.into_iter().map(|(_, failure)| failure).min_by_key(weight);
    match gravest {
        None => unreachable,
        Some(failure) if failure.exit == exit::UNREACHABLE => unreachable,
        // Whether anything is sealed is not for one node to deny.
        Some(failure) if failure.exit == exit::NOT_FOUND => Failure::coded(fetch::PART_MISSING, reasons),
        Some(failure) => failure,
    }
}

/// Asks nodes at the same time, so that silent ones do not add up.
pub fn of_each<T: Send>(
    api: &NodeApi,
    nodes: &[String],
    ask: impl Fn(&NodeApi) -> Result<T, Failure> + Sync,
) -> Vec<(String, Result<T, Failure>)> {
    let ask = &ask;
    std::thread::scope(|scope| {
        let threads: Vec<_> = nodes
            .iter()
            .map(|node| {
                let only = api.only(node);
                (node, scope.spawn(move || ask(&only)))
            })
            .collect();
        let died = |_| Err(Failure::bug("a request to a node ended without an answer"));
        threads.into_iter().map(|(node, thread)| (node.clone(), thread.join().unwrap_or_else(died))).collect()
    })
}

/// How the context's nodes answered the same question.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    pub agreeing: usize,
    /// Nodes that name another log or another trail at the same size, or a checkpoint that does not verify.
    pub differing: Vec<String>,
    /// Nodes that do not answer, or no longer hold that state.
    pub silent: Vec<String>,
    /// Nodes whose newest sealed checkpoint is older than the proven one, and by how many entries.
    pub behind: Vec<(String, u64)>,
}

impl Agreement {
    pub fn asked(&self) -> usize {
        self.agreeing + self.differing.len() + self.silent.len() + self.behind.len()
    }

    pub fn behind_json(&self) -> Value {
        self.behind.iter().map(|(node, entries)| json!({ "node": node, "entries": entries })).collect()
    }
}

/// What is compared: root of the log, count and root of the trail.
type Stand = (Hash, u64, Hash);

/// What a node says at the size of the proven checkpoint.
enum Said {
    Stand(Stand),
    Behind(u64),
}

/// Asks every node that has a checkpoint for the end of the trail, at the size of the proven one.
pub fn ask(api: &NodeApi, newest: &Newest, proven: &ProvenBundle, (kind, id): (SubjectKind, &str)) -> Agreement {
    let checkpoint = &proven.header.sealed.checkpoint;
    let (count, root) = proven.trail.value.trail.unwrap_or_default();
    let nodes: Vec<String> = newest.proven.iter().map(|(node, _)| node.clone()).collect();
    let answers = of_each(api, &nodes, |node| said(node, (kind, id), count, checkpoint.size));
    let mut agreement = judge((checkpoint.root, count, root), answers);
    for (node, failure) in &newest.others {
        match failure.exit {
            exit::FAILED => agreement.differing.push(node.clone()),
            _ => agreement.silent.push(node.clone()),
        }
    }
    agreement
}

/// A node that has not got so far is given a moment; then it is told how far behind it is.
fn said(node: &NodeApi, (kind, id): (SubjectKind, &str), count: u64, size: u64) -> Result<Said, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let failure = match fetch::page(node, (kind, id), count, Some(size)) {
            Ok(page) => return stand(&page).map(Said::Stand),
            Err(failure) => failure,
        };
        let has = fetch::size_of(&node.get("/checkpoint")?.success()?.text())?;
        if has >= size {
            return Err(failure);
        }
        if Instant::now() >= deadline {
            return Ok(Said::Behind(size.saturating_sub(has)));
        }
        std::thread::sleep(PAUSE);
    }
}

fn stand(page: &TrailProof) -> Result<Stand, Failure> {
    let note = Note::parse(&page.sealed.checkpoint);
    let note = note.map_err(|fault| Failure::unreachable(format!("the node's checkpoint: {fault}")))?;
    Ok((note.checkpoint.root, page.trail.count, page.trail.root))
}

fn judge(proven: Stand, answers: Vec<(String, Result<Said, Failure>)>) -> Agreement {
    let mut agreement = Agreement::default();
    for (node, answer) in answers {
        match answer {
            Ok(Said::Stand(stand)) if stand == proven => agreement.agreeing += 1,
            Ok(Said::Stand(_)) => agreement.differing.push(node),
            Ok(Said::Behind(entries)) => agreement.behind.push((node, entries)),
            Err(failure) if failure.exit == exit::FAILED => agreement.differing.push(node),
            Err(_) => agreement.silent.push(node),
        }
    }
    agreement
}

/// For a reader of old books: how old they are.
pub fn old_books((genesis, language): (&Genesis, Language), time_ms: u64, heartbeat_ms: u64) -> Option<String> {
    let words = language.pick(
        "账目陈旧:网络空闲时也按心跳出块,而所询问的节点最新封签区块的时间为",
        "old books: an idle network makes a block at each heartbeat, the newest that was found sealed is of",
    );
    is_old(time_ms, heartbeat_ms, now_ms()).then(|| format!("{words} {}", local_time(genesis, time_ms)))
}

/// Whether a network that lives has sealed a later block since: an idle one closes a block at each heartbeat.
fn is_old(time_ms: u64, heartbeat_ms: u64, now_ms: u64) -> bool {
    now_ms > time_ms.saturating_add(heartbeat_ms).saturating_add(GRACE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_log_and_trail_agree() {
        let proven = ([1; 32], 7, [2; 32]);
        let answers = [
            ("same", Ok(Said::Stand(proven))),
            ("other log", Ok(Said::Stand(([9; 32], 7, [2; 32])))),
            ("shorter", Ok(Said::Stand(([1; 32], 6, [2; 32])))),
            ("other trail", Ok(Said::Stand(([1; 32], 7, [9; 32])))),
            ("old", Ok(Said::Behind(5))),
            ("silent", Err(Failure::unreachable("gone"))),
        ];
        let agreement = judge(proven, answers.map(|(node, answer)| (node.to_owned(), answer)).into());
        assert_eq!((agreement.agreeing, agreement.asked()), (1, 6));
        assert_eq!(agreement.differing, ["other log", "shorter", "other trail"]);
        assert_eq!(agreement.behind, [("old".to_owned(), 5)]);
        assert_eq!(agreement.silent, ["silent"]);
    }

    #[test]
    fn without_a_sealed_checkpoint_the_gravest_reason_is_told() {
        let told = |failures: Vec<Failure>| {
            let failure = none(failures.into_iter().map(|failure| ("a node".to_owned(), failure)).collect());
            (failure.exit, failure.code.map(|code| code.0))
        };
        let (silent, unsealed) = (|| Failure::unreachable("gone"), || Failure::coded(Code(2005), "nothing sealed"));
        assert_eq!(told(vec![silent(), silent()]), (exit::UNREACHABLE, Some(2007)));
        assert_eq!(told(vec![silent(), unsealed()]), (exit::INCONCLUSIVE, Some(4127)));
        let false_seal = Failure::coded(Code(4104), "a false seal");
        assert_eq!(told(vec![silent(), unsealed(), false_seal]), (exit::FAILED, Some(4104)));
    }

    #[test]
    fn books_are_old_once_a_heartbeat_must_have_passed() {
        let heartbeat_ms = 3_600_000;
        assert!(!is_old(1_000, heartbeat_ms, 1_000 + heartbeat_ms + GRACE_MS));
        assert!(is_old(1_000, heartbeat_ms, 1_001 + heartbeat_ms + GRACE_MS));
        assert!(!is_old(9_000, heartbeat_ms, 1_000), "a clock that is behind tells nothing");
    }
}
