//! Steps that nobody can take back ask before they are signed: a person answers on a terminal; where there is none, the
//! command line must have said `--yes`. What asks nobody never waits for an answer.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use mingzhang_ledger::codec::Value;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::body::find;
use mingzhang_ledger::records::object::Ref;

use crate::output::{Failure, Language, plain_text, wrap};

/// That a step which asks was not confirmed.
const NOT_CONFIRMED: Code = Code(2016);

/// Who answers for this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// `--yes`: said before.
    Said,
    /// A person at a terminal.
    Person,
    /// `--no-input`, or no terminal.
    Nobody,
}

impl Answers {
    pub fn of(yes: bool, no_input: bool) -> Self {
        // A question that is redirected into a file is seen by nobody.
        Self::from(yes, no_input, std::io::stdin().is_terminal() && std::io::stderr().is_terminal())
    }

    fn from(yes: bool, no_input: bool, terminal: bool) -> Self {
        match (yes, no_input || !terminal) {
            (true, _) => Self::Said,
            (false, false) => Self::Person,
            (false, true) => Self::Nobody,
        }
    }
}

/// A step that no later record takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Danger {
    /// What it is about, such as the record that is approved.
    about: String,
    zh: &'static str,
    en: &'static str,
}

impl Danger {
    /// What is dangerous about signing a record of this type; None for those that another record or person still stops.
    pub fn of(record_type: &str, body: &Value) -> Option<Self> {
        let named = |name| find(body, name).map_or(String::new(), |named: Ref| named.to_string());
        let (about, zh, en) = match record_type {
            "approve" => (
                named("waiting"),
                "最后一份批准即令其生效,款项随之记账或交银行支付",
                "the last approval puts it into effect, and its money is posted or released to the bank",
            ),
            "vote" if find(body, "yes") == Some(true) => (
                named("proposal"),
                "赞成票达到法定数后,所提动作到时自行生效",
                "with a quorum of such votes the action takes effect by itself at its time",
            ),
            "key_revoke" => (
                find(body, "key").map_or(String::new(), |key: [u8; 32]| hex::encode(key)),
                "该密钥从此不能再签署任何记录",
                "this key signs nothing any more",
            ),
            _ => return None,
        };
        Some(Self { about, zh, en })
    }

    /// With more about it than the record itself says.
    pub fn about(self, words: Option<String>) -> Self {
        Self { about: words.unwrap_or(self.about), ..self }
    }

    fn question(&self, record_type: &str, who: &str, language: Language) -> String {
        let about = if self.about.is_empty() { String::new() } else { format!(" {}", language.detail(&self.about)) };
        let (signs, gone) = match language {
            Language::Chinese => (format!("以 {who} 签署 {record_type}:{about}"), ",不能撤回"),
            Language::English => (format!("{who} signs {record_type}:{about}"), "; it cannot be withdrawn"),
        };
        let effect = format!("{}{gone}", language.pick(self.zh, self.en));
        format!("{}\n{}", wrap(&signs, 0), wrap(&effect, 4))
    }

    /// Goes on only if somebody said yes. `who` is the key that signs and its agency.
    pub fn confirm(
        &self,
        answers: Answers,
        (record_type, who): (&str, &str),
        language: Language,
    ) -> Result<(), Failure> {
        let refused = |words: &str| Failure::coded(NOT_CONFIRMED, format!("{record_type} {}: {words}", self.about));
        match answers {
            Answers::Said => Ok(()),
            Answers::Nobody => Err(refused("there is nobody to ask here")),
            Answers::Person => {
                let asked = format!(
                    "{}\n{} ",
                    plain_text(&self.question(record_type, who, language)),
                    language.pick("继续? [y/N]", "go on? [y/N]")
                );
                let mut out = std::io::stderr().lock();
                out.write_all(asked.as_bytes()).and_then(|()| out.flush())?;
                let mut answer = String::new();
                std::io::stdin().lock().read_line(&mut answer)?;
                if is_yes(&answer) { Ok(()) } else { Err(refused("the answer was not yes")) }
            }
        }
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes" | "是")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_who_cannot_answer() {
        for (yes, no_input, terminal, expected) in [
            (true, false, true, Answers::Said),
            (true, true, false, Answers::Said),
            (false, false, true, Answers::Person),
            (false, true, true, Answers::Nobody),
            (false, false, false, Answers::Nobody),
        ] {
            assert_eq!(Answers::from(yes, no_input, terminal), expected);
        }
        for (answer, expected) in
            [("y\n", true), ("YES\n", true), ("是\n", true), ("\n", false), ("", false), ("n", false)]
        {
            assert_eq!(is_yes(answer), expected, "{answer:?}");
        }
    }

    #[test]
    fn what_nothing_takes_back_is_dangerous_and_says_why() {
        let vote = |yes| Value::text_map([("yes", Value::Bool(yes))]);
        assert_eq!(Danger::of("vote", &vote(false)), None);
        assert_eq!(Danger::of("payment_request", &Value::text_map([])), None);
        let waiting = Value::Array(vec![Value::text("civil"), Value::bytes(b"PAY-1\0\0\0\0\0\0\0\0\0\0\0")]);
        let approval = Danger::of("approve", &Value::text_map([("waiting", waiting)])).expect("it asks");
        let said = approval.confirm(Answers::Nobody, ("approve", "finance-1"), Language::English).expect_err("refused");
        assert_eq!((said.exit, said.code), (2, Some(NOT_CONFIRMED)));
        assert!(said.detail.contains("approve civil/PAY-1"), "{}", said.detail);
        let asked = approval.about(Some("payment_request civil/PAY-1, 7.00 CNY".into())).question(
            "approve",
            "finance-1 (finance)",
            Language::English,
        );
        for words in ["finance-1 (finance) signs approve", "civil/PAY-1, 7.00 CNY", "it cannot be withdrawn"] {
            assert!(asked.contains(words), "{asked}");
        }
    }
}
