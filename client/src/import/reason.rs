//! Why rows of a source were not taken as they stand, in words for people.

use mingzhang_ledger::outcome::Code;

use super::item::{Fault, Note, Skip, Wrong};
use crate::output::{Language, wrap};

/// Most lines of a file that the screen names for one reason.
const MAX_LINES: usize = 5;
/// Most characters of a source's value that are shown.
const MAX_SHOWN: usize = 60;

/// Codes below are the door's.
const FIRST_RULE: u16 = 3_000;

/// What rows have in common that were not taken as they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Rejected(u16),
    /// And whether its amount is below zero.
    Skipped(Skip, bool),
    /// Recorded, though one of its values could not be read.
    Noted(Note),
}

impl Reason {
    pub fn of_note(note: Note) -> Option<Self> {
        match note {
            Note::DateUnreadable | Note::DisbursementUnreadable => Some(Self::Noted(note)),
            Note::IdSynthesised | Note::CurrencyInherited | Note::DateInherited => None,
        }
    }

    /// Lines for the screen: what happened, how often, where first.
    pub fn lines(self, places: &[String], language: Language) -> Vec<String> {
        let (what, why) = self.words(language);
        let more = if places.len() > MAX_LINES { ", …" } else { "" };
        let first = places.iter().take(MAX_LINES).cloned().collect::<Vec<_>>().join(", ");
        let rows = language.pick("行", "line");
        vec![wrap(&format!("{what} {}: {why}; {rows} {first}{more}", places.len()), 2)]
    }

    fn words(self, language: Language) -> (&'static str, String) {
        match self {
            // The door refuses and records nothing; what a rule rejects is on the ledger.
            Self::Rejected(code @ ..FIRST_RULE) => (language.pick("拒收", "rejected"), Code(code).to_string()),
            Self::Rejected(code) => (language.pick("驳回", "rejected"), Code(code).to_string()),
            Self::Skipped(Skip::AmountInvalid, true) => {
                let why = language.pick(
                    "amount_invalid, 负数,此前没有足以抵减的付款",
                    "amount_invalid, negative and no earlier payment covers it",
                );
                (language.pick("跳过", "skipped"), why.to_owned())
            }
            Self::Skipped(skip, _) => {
                let why = format!("{}, {}", skip.name(), skip_title(skip, language));
                (language.pick("跳过", "skipped"), why)
            }
            Self::Noted(note) => {
                let title = if note == Note::DisbursementUnreadable {
                    language
                        .pick("拨付金额无法读取,只登记资助", "disbursed amount cannot be read, only the grant stands")
                } else {
                    language.pick("日期无法读取,以默认值登记", "date cannot be read, recorded with a default")
                };
                (language.pick("备注", "noted"), format!("{}, {title}", note.name()))
            }
        }
    }
}

pub fn skip_title(skip: Skip, language: Language) -> &'static str {
    match skip {
        Skip::Empty => language.pick("空行", "the row is empty"),
        Skip::ZeroAmount => language.pick("金额为零", "the amount is zero"),
        Skip::AmountInvalid => language.pick("金额无法读取", "the amount cannot be read"),
        Skip::NotMapped => language.pick("没有对应的记录类型", "no record type takes it"),
        Skip::WithoutGrant => language.pick("其资助未登记", "its grant is not recorded"),
    }
}

/// What is wrong with a value, in the words of the source.
pub fn fault_text(fault: &Fault, language: Language) -> String {
    let shown: String = fault.text.chars().take(MAX_SHOWN).collect();
    let why = match fault.wrong {
        Wrong::Date => language.pick("不是可读的日期", "is no date that can be read"),
        Wrong::Currency if fault.text.is_empty() => {
            language.pick("未填写,且本文件没有唯一的币种", "is missing and the file has no single currency")
        }
        Wrong::Currency => language.pick("不是 ISO 4217 币种", "is no ISO 4217 currency"),
        Wrong::Amount if fault.text.is_empty() => language.pick("未填写", "is missing"),
        Wrong::Amount => language.pick("不是金额", "is not an amount"),
        Wrong::TooLarge => language.pick("超过一条记录可写的金额", "is more than a record holds"),
        Wrong::Negative => {
            language.pick("为负数,此前没有足以抵减的付款", "is negative and no earlier payment covers it")
        }
    };
    format!("{} {shown:?} {why}", fault.column)
}

/// What to do about it.
pub fn fix(wrong: Wrong, language: Language) -> &'static str {
    match wrong {
        Wrong::Date => language.pick(
            "请按 2026-01-31 的写法更正,或在 --map 文件的 [formats] 中写明 date,例如 \"%d/%m/%Y\"。",
            "Write it like 2026-01-31, or state its form in a map (--map): date = \"%d/%m/%Y\" under [formats].",
        ),
        Wrong::Currency => {
            language.pick("请更正为 ISO 4217 币种代码,例如 CNY。", "Correct it to an ISO 4217 code such as CNY.")
        }
        Wrong::Amount => language.pick(
            "请写成不带分隔符的数字,小数位不多于该币种;带分隔符的文件请在 --map 文件的 [formats] 中写明 thousands。",
            "Write digits with at most the currency's decimals; if the file groups digits, state thousands = \",\" under \
             [formats] in a map (--map).",
        ),
        Wrong::TooLarge => language.pick(
            "请核对金额与单位;以分计,一条记录最多 18446744073709551615。",
            "Check the amount and its unit: a record holds at most 18446744073709551615 minor units.",
        ),
        Wrong::Negative => language.pick(
            "退款须指同一资金项目、同一合同或收款人的在先付款;请核对后更正。",
            "A return needs an earlier payment of its programme and contract or payee that covers it; correct the row.",
        ),
    }
}
