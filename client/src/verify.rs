//! Verification on this machine, from the pinned genesis file: what `verify` and `audit` share. Opens no socket.

use mingzhang_genesis::Genesis;
use mingzhang_ledger::outcome::{Code, catalogue};
use mingzhang_ledger::proof::Passage;
use mingzhang_ledger::recovery::Discontinuity;
use mingzhang_ledger::verify::{Authorities, Report, StepName, StepResult, Verdict};
use serde_json::{Value, json};

use crate::context::Network;
use crate::output::{Failure, Language};

/// The authorities of a network, as its genesis names them; a bundle's own hand-offs lead on from there.
pub fn authorities(network: &Network) -> Authorities {
    authorities_of(&network.genesis)
}

/// The authorities that hand-offs lead to.
pub fn authorities_after(genesis: &Genesis, handoffs: &[Passage]) -> Result<Authorities, Failure> {
    let mut authorities = authorities_of(genesis);
    for handoff in handoffs {
        authorities.follow(handoff).map_err(|problem| Failure::coded(problem.code, problem.detail))?;
    }
    Ok(authorities)
}

/// The authorities that a genesis file names.
pub fn authorities_of(genesis: &Genesis) -> Authorities {
    Authorities::new(&genesis.origin, genesis.hash, genesis.set.clone()).with_recovery(genesis.recovery_keys())
}

/// That recovery keys, and not the members, said who decides next.
const DISCONTINUITY: Code = Code(4131);

/// The discontinuities that a verification passed, for programs.
pub fn discontinuities_json<'a>(told: impl IntoIterator<Item = &'a Discontinuity>) -> Value {
    let view = |told: &Discontinuity| {
        json!({ "epoch": told.epoch, "after_height": told.height, "tree_size": told.tree_size, "reason": told.reason,
                "signed_by": told.signers, "threshold": told.threshold })
    };
    told.into_iter().map(view).collect()
}

/// The same as warnings: nobody verifies across one without being told.
pub fn discontinuity_warnings<'a>(
    told: impl IntoIterator<Item = &'a Discontinuity>,
    language: Language,
) -> Vec<String> {
    let title = catalogue().get(&DISCONTINUITY).map_or("", |entry| match language {
        Language::Chinese => &entry.zh.title,
        Language::English => &entry.en.title,
    });
    let words = |told: &Discontinuity| {
        let (epoch, height, signed) = (told.epoch, told.height, told.signers.len());
        let said = match language {
            Language::Chinese => {
                format!("第 {epoch} 届自高度 {height} 之后起,由 {signed} 把恢复密钥签署的恢复文书开启")
            }
            Language::English => {
                format!(
                    "epoch {epoch} was opened after height {height} by a manifest that {signed} recovery keys signed"
                )
            }
        };
        format!("{DISCONTINUITY} {title}: {said}: {}", told.reason)
    };
    told.into_iter().map(words).collect()
}

pub fn verdict_name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Verified => "verified",
        Verdict::Failed { .. } => "failed",
        Verdict::Inconclusive { .. } => "inconclusive",
    }
}

/// The one sentence that a verification ends in.
pub fn sentence(verdict: &Verdict, language: Language) -> &'static str {
    match verdict {
        Verdict::Verified => language.pick("已核验 VERIFIED", "VERIFIED"),
        Verdict::Failed { .. } => language.pick("核验失败 FAILED", "FAILED"),
        Verdict::Inconclusive { .. } => language.pick("无法得出结论 CANNOT CONCLUDE", "CANNOT CONCLUDE"),
    }
}

pub fn steps_json(report: &Report) -> Value {
    let steps = report
        .steps
        .iter()
        .map(|step| json!({ "name": step_name(step.name), "result": result_name(step.result), "detail": step.detail }));
    steps.collect()
}

pub fn steps_text(report: &Report) -> String {
    let lines: Vec<String> = report
        .steps
        .iter()
        .map(|step| {
            let mark = match step.result {
                StepResult::Passed | StepResult::Attested => "✓",
                StepResult::Failed => "✗",
                StepResult::Missing => "?",
            };
            format!("  {mark} {:<10} {}", step_name(step.name), step.detail)
        })
        .collect();
    lines.join("\n")
}

fn step_name(name: StepName) -> &'static str {
    match name {
        StepName::Encoding => "encoding",
        StepName::Signature => "signature",
        StepName::Inclusion => "inclusion",
        StepName::Seals => "seals",
        StepName::Authority => "authority",
        StepName::Document => "document",
    }
}

fn result_name(result: StepResult) -> &'static str {
    match result {
        StepResult::Passed => "passed",
        StepResult::Attested => "attested",
        StepResult::Failed => "failed",
        StepResult::Missing => "missing",
    }
}
