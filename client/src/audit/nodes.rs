//! What the other nodes say about a trail that is proven already. Their answers are claims and change no verdict; that they
//! agree tells an auditor how many he could have asked, and one that differs is named.

use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::proof::{SubjectKind, TrailProof};
use mingzhang_ledger::seal::Note;
use mingzhang_ledger::verify::ProvenBundle;

use super::fetch;
use crate::node_api::NodeApi;
use crate::output::Failure;

/// How the context's nodes answered the same question.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    pub agreeing: usize,
    /// Nodes that name another log or another trail at the same size.
    pub differing: Vec<String>,
    /// Nodes that do not answer, or no longer hold that state.
    pub silent: Vec<String>,
}

impl Agreement {
    pub fn asked(&self) -> usize {
        self.agreeing + self.differing.len() + self.silent.len()
    }
}

/// What is compared: root of the log, count and root of the trail.
type Stand = (Hash, u64, Hash);

/// Asks every node of the context for the end of the trail, at the size of the proven checkpoint.
pub fn ask(api: &NodeApi, proven: &ProvenBundle, kind: SubjectKind, id: &str) -> Agreement {
    let checkpoint = &proven.header.sealed.checkpoint;
    let (count, root) = proven.trail.value.trail.unwrap_or_default();
    let answers = api.nodes().iter().map(|node| {
        let answer = fetch::page(&api.only(node), kind, id, count, Some(checkpoint.size));
        (node.as_str(), answer.and_then(|page| stand(&page)))
    });
    judge((checkpoint.root, count, root), answers)
}

fn stand(page: &TrailProof) -> Result<Stand, Failure> {
    let note = Note::parse(&page.sealed.checkpoint);
    let note = note.map_err(|fault| Failure::unreachable(format!("the node's checkpoint: {fault}")))?;
    Ok((note.checkpoint.root, page.trail.count, page.trail.root))
}

fn judge<'a>(proven: Stand, answers: impl Iterator<Item = (&'a str, Result<Stand, Failure>)>) -> Agreement {
    let mut agreement = Agreement::default();
    for (node, answer) in answers {
        match answer {
            Ok(stand) if stand == proven => agreement.agreeing += 1,
            Ok(_) => agreement.differing.push(node.to_owned()),
            Err(_) => agreement.silent.push(node.to_owned()),
        }
    }
    agreement
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_log_and_trail_agree() {
        let proven = ([1; 32], 7, [2; 32]);
        let answers = [
            ("same", Ok(proven)),
            ("other log", Ok(([9; 32], 7, [2; 32]))),
            ("shorter", Ok(([1; 32], 6, [2; 32]))),
            ("other trail", Ok(([1; 32], 7, [9; 32]))),
            ("silent", Err(Failure::unreachable("gone"))),
        ];
        let agreement = judge(proven, answers.into_iter());
        assert_eq!((agreement.agreeing, agreement.asked()), (1, 5));
        assert_eq!(agreement.differing, ["other log", "shorter", "other trail"]);
        assert_eq!(agreement.silent, ["silent"]);
    }
}
