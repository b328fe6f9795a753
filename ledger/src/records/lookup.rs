//! The unique codes by which anybody may look for a record, exactly as it has them: what a supplier or a charity is
//! registered as, and the number of a licence. A bank reference stands in a person's account book and is none of them.

use super::object::Ref;
use crate::state::key::{self, Key};
use crate::state::{Snapshot, StateFault};

/// One kind of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Searched {
    kind: &'static str,
    /// Whether each agency has codes of its own, before which its id stands.
    of_agencies: bool,
}

const SEARCHED: [Searched; 2] =
    [Searched { kind: "party", of_agencies: false }, Searched { kind: "licence", of_agencies: true }];

/// The kinds of code that are looked through.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    SEARCHED.iter().map(|searched| searched.kind)
}

/// The live records that hold a code, with its kind; of a licence with the agency before it (`civil.A-1`), or without.
pub fn holders(
    state: &dyn Snapshot,
    agencies: &[impl AsRef<str>],
    code: &str,
) -> Result<Vec<(&'static str, Ref)>, StateFault> {
    let mut found = Vec::new();
    for searched in SEARCHED {
        let own = agencies.iter().filter(|_| searched.of_agencies).map(|id| format!("{}.{code}", id.as_ref()));
        for name in std::iter::once(code.to_owned()).chain(own) {
            let holder = holder(state, &key::code(searched.kind, &name.to_ascii_uppercase()))?;
            found.extend(holder.map(|holder| (searched.kind, holder)));
        }
    }
    Ok(found)
}

fn holder(state: &dyn Snapshot, key: &Key) -> Result<Option<Ref>, StateFault> {
    let Some(stored) = state.read(key)? else { return Ok(None) };
    minicbor::decode(&stored.current).map(Some).map_err(|error| StateFault::Value(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Value;
    use crate::records::fund::tests::{funded, pay};
    use crate::records::testing::{Stage, hash, text, to};

    const AGENCIES: [&str; 3] = ["civil", "bank", "town"];

    fn found(stage: &Stage, code: &str) -> Vec<(&'static str, String)> {
        let found = holders(&stage.state, &AGENCIES, code).expect("the state reads");
        found.into_iter().map(|(kind, holder)| (kind, holder.to_string())).collect()
    }

    #[test]
    fn a_party_and_a_licence_are_found_by_what_they_are_called() {
        let mut stage = Stage::found();
        let party = vec![("party_id", text("SUP-1")), ("kind", text("supplier")), ("account_commitment", hash(5))];
        stage.apply("civil/1", "party_register", "P-1", party);
        let about = |more: Vec<(&'static str, Value)>| [vec![("subject", to("town/C"))], more].concat();
        let matter = vec![
            ("legal_basis", text("item 38")),
            ("clock_days", Value::Uint(20)),
            ("documents", Value::Array(vec![text("site-plan")])),
            ("decider_role", text("decider")),
        ];
        stage.apply("civil/head", "matter_define", "M", matter);
        let applicant = Value::bytes(&[0xaa; 16]);
        let submit = vec![("matter", to("civil/M")), ("applicant", applicant), ("form", hash(1))];
        stage.apply("town/1", "case_submit", "C", submit);
        stage.apply("civil/reviewer", "case_accept", "accept", about(vec![]));
        let opinion = about(vec![("opinion", text("approve")), ("report", hash(2))]);
        stage.apply("civil/reviewer", "case_opinion", "opinion", opinion);
        let decision = about(vec![("granted", Value::Bool(true)), ("decision", hash(3))]);
        stage.apply("civil/decider", "case_decide", "decide", decision);
        let licence = about(vec![("licence_no", text("LIC-1")), ("licence", hash(4))]);
        stage.apply("civil/decider", "licence_issue", "L", licence);

        for spelled in ["SUP-1", "sup-1"] {
            assert_eq!(found(&stage, spelled), [("party", "civil/P-1".to_owned())], "capitals are one");
        }
        for spelled in ["LIC-1", "civil.LIC-1"] {
            assert_eq!(found(&stage, spelled), [("licence", "civil/L".to_owned())]);
        }
        for other in ["SUP", "SUP-10", "town.LIC-1", ""] {
            assert_eq!(found(&stage, other), []);
        }
        assert_eq!(kinds().collect::<Vec<_>>(), ["party", "licence"]);
    }

    #[test]
    fn what_leads_to_a_person_is_not_found() {
        let mut stage = funded();
        pay(&mut stage, "PAY", 600);
        let confirmed = stage.leaf("bank/PC-PAY").expect("the bank's record");
        assert!(confirmed.in_effect());
        assert!(stage.get::<Ref>(&key::code("bank", "BANK.B-PAY")).is_some(), "the code is there");
        for code in ["B-PAY", "bank.B-PAY"] {
            assert_eq!(found(&stage, code), []);
        }
    }
}
