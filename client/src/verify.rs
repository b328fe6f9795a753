//! Verification on this machine, from the pinned genesis file: what `verify` and `audit` share. Opens no socket.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use mingzhang_genesis::Genesis;
use mingzhang_ledger::crypto::PublicKey;
use mingzhang_ledger::layout::{hang, wrap};
use mingzhang_ledger::outcome::{Code, catalogue};
use mingzhang_ledger::proof::Passage;
use mingzhang_ledger::recovery::Discontinuity;
use mingzhang_ledger::state::key::id_text;
use mingzhang_ledger::verify::{Authorities, ReceiptFacts, Report, StepName, StepResult, Verdict};
use serde_json::{Value, json};

use crate::output::{Failure, Language};

/// The authorities that hand-offs lead to.
pub fn authorities_after(genesis: &Genesis, handoffs: &[Passage]) -> Result<Authorities, Failure> {
    let mut authorities = authorities_of(genesis);
    for handoff in handoffs {
        authorities.follow(handoff).map_err(|problem| Failure::coded(problem.code, problem.detail))?;
    }
    Ok(authorities)
}

/// The authorities that a genesis file names; a bundle's own hand-offs lead on from there.
pub fn authorities_of(genesis: &Genesis) -> Authorities {
    let log_keys: Vec<PublicKey> = genesis.document.log_keys.iter().map(|held| held.key.0).collect();
    Authorities::new(&genesis.origin, genesis.hash, genesis.set.clone())
        .with_recovery(genesis.recovery_keys())
        .with_log_keys(log_keys)
}

/// The text of a receipt, checkpoint or bundle; bytes that are no text are as malformed as a text that says nothing.
pub fn read_evidence(file: &Path) -> Result<String, Failure> {
    let bytes = std::fs::read(file).map_err(|error| Failure::unreadable(file, error))?;
    String::from_utf8(bytes).map_err(|_| Failure::coded(MALFORMED, format!("{}: not a text file", file.display())))
}

/// Writes evidence where none stands: what is kept there may be what a dispute is about, so only the same text may be.
pub fn keep_evidence(file: &Path, text: &str) -> Result<(), Failure> {
    match File::create_new(file) {
        Ok(mut new) => new.write_all(text.as_bytes()).map_err(|error| Failure::not_written(file, error)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && file.is_file() => {
            match std::fs::read(file).is_ok_and(|kept| kept == text.as_bytes()) {
                true => Ok(()),
                false => Err(Failure::not_written(file, error)),
            }
        }
        // A pipe or a device keeps nothing.
        Err(_) => std::fs::write(file, text).map_err(|error| Failure::not_written(file, error)),
    }
}

/// A receipt, checkpoint or bundle that cannot be read as one.
const MALFORMED: Code = Code(4101);
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

/// What the ledger decided about a record, with the code of a rejection and its title. That it was applied means that
/// it was not rejected: it may still wait for an approval or the bank.
pub fn outcome_text(outcome: u16, language: Language) -> String {
    if outcome == 0 {
        return language
            .pick(
                "已记录,未被驳回(是否已批准或已支付,以轨迹为准)",
                "applied, not rejected (the trail says whether it was approved or paid)",
            )
            .to_owned();
    }
    let code = Code(outcome);
    let title = catalogue().get(&code).map_or("", |entry| match language {
        Language::Chinese => &entry.zh.title,
        Language::English => &entry.en.title,
    });
    format!("{} {code} {title}", language.pick("已驳回", "REJECTED")).trim_end().to_owned()
}

/// The record and what the ledger decided about it: that a receipt is genuine says nothing of that.
pub fn decided(facts: &ReceiptFacts, is_proven: bool, language: Language) -> String {
    let payload = facts.transaction.payload();
    let claim = if is_proven { "" } else { language.pick("(未证实)", " (not proven)") };
    let decision = language.pick("账本的结果", "the ledger's decision");
    let decision = wrap(&format!("{decision}: {}{claim}", outcome_text(facts.outcome, language)), 2);
    format!(
        "  {} {}/{}  {}{claim}\n{decision}",
        payload.record_type,
        payload.agency,
        id_text(&payload.record_id),
        if facts.outcome == 0 { language.pick("已记录", "applied") } else { language.pick("已驳回", "REJECTED") },
    )
}

/// The outcome in JSON.
pub fn outcome_name(outcome: u16) -> &'static str {
    if outcome == 0 { "applied" } else { "rejected" }
}

pub fn steps_json(report: &Report) -> Value {
    let steps = report
        .steps
        .iter()
        .map(|step| json!({ "name": step_name(step.name), "result": result_name(step.result), "detail": step.detail }));
    steps.collect()
}

pub fn steps_text(report: &Report, language: Language) -> String {
    let lines: Vec<String> = report
        .steps
        .iter()
        .map(|step| {
            let (mark, word) = match step.result {
                StepResult::Passed => ("✓", ""),
                // Not proven here: the seals vouch for it, and nothing else does.
                StepResult::Attested => {
                    ("○", language.pick("未核验,由封签担保: ", "not checked, the seals attest it: "))
                }
                StepResult::Failed => ("✗", ""),
                StepResult::Missing => ("?", ""),
            };
            hang(&format!("  {mark} {}  {word}{}", step_words(step.name, language), language.detail(&step.detail)))
        })
        .collect();
    lines.join("\n")
}

/// What did not hold or is missing, beside a code.
pub fn open_steps(report: &Report) -> String {
    let open = report.steps.iter().filter(|step| matches!(step.result, StepResult::Failed | StepResult::Missing));
    let lines: Vec<String> = open.map(|step| format!("step {}: {}", step_name(step.name), step.detail)).collect();
    lines.join("\n")
}

/// The step for people, in ten columns.
fn step_words(name: StepName, language: Language) -> String {
    let chinese = match name {
        StepName::Encoding => "编码",
        StepName::Signature => "签名",
        StepName::Inclusion => "在日志中",
        StepName::Seals => "封签",
        StepName::Authority => "成员名册",
        StepName::Document => "文件",
    };
    match language {
        Language::English => format!("{:<9}", step_name(name)),
        // A Han character takes two columns.
        Language::Chinese => {
            format!("{chinese}{:width$}", "", width = 9usize.saturating_sub(2 * chinese.chars().count()))
        }
    }
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
