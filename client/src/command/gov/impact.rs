//! What a change of the authority set does to the network: how many faulty members it tolerates before and after, and how
//! many more failures it would survive with those that are online now.

use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::outcome::Code;
use serde_json::{Value, json};

use crate::handoffs;
use crate::node_api::NodeApi;
use crate::output::{Failure, Language};
use crate::verify::authorities_after;

/// The set that decides now, and which of its members a node sees online.
pub struct Network {
    pub set: AuthoritySet,
    online: Vec<String>,
    /// A node without a seat says so: it reaches those who let it in, and more may be online.
    by_observer: bool,
}

impl Network {
    /// The set as hand-offs from genesis prove it; who is online is what one node says.
    pub fn of(network: &crate::context::Network, api: &NodeApi) -> Result<Self, Failure> {
        let authorities = authorities_after(&network.genesis, &handoffs::fetch(&network.genesis, api)?)?;
        Self::with(authorities.newest().clone(), api)
    }

    /// The same with a set that is proven already.
    pub fn with(set: AuthoritySet, api: &NodeApi) -> Result<Self, Failure> {
        let status = api.get_json("/status")?;
        let members = status.get("members").and_then(Value::as_array).cloned().unwrap_or_default();
        let connected = |member: &&Value| member.get("connected").and_then(Value::as_bool).unwrap_or(false);
        let name = |member: &Value| member.get("agency_id").and_then(Value::as_str).map(str::to_owned);
        let by_observer = status.get("seat").is_some_and(Value::is_null);
        Ok(Self { set, online: members.iter().filter(connected).filter_map(name).collect(), by_observer })
    }
}

/// One set in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Figures {
    agencies: usize,
    quorum: usize,
    tolerates: usize,
    online: usize,
}

impl Figures {
    /// Failures that the members online now can still bear; none where the quorum is not even reached.
    fn survives(&self) -> Option<usize> {
        self.online.checked_sub(self.quorum)
    }

    fn json(&self, by_observer: bool) -> Value {
        let least = if by_observer { None } else { Some(0) };
        json!({
            "agencies": self.agencies, "quorum": self.quorum, "tolerates": self.tolerates, "online": self.online,
            "survives_more_failures": self.survives().or(least), "online_at_least": by_observer,
        })
    }
}

/// Before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Impact {
    before: Figures,
    after: Figures,
    /// How many are online is known as a lower bound only.
    by_observer: bool,
}

impl Impact {
    /// Whoever joins, or comes with a new key, counts as online: the change waits until its node is ready.
    pub fn of(network: &Network, next: &AuthoritySet) -> Self {
        let figures = |set: &AuthoritySet, online: usize| Figures {
            agencies: set.members.len(),
            quorum: set.quorum(),
            tolerates: set.tolerated_faults(),
            online,
        };
        let same_node = |key| network.set.members.iter().any(|member| member.consensus_key == key);
        let online = next
            .members
            .iter()
            .filter(|member| network.online.contains(&member.agency) || !same_node(member.consensus_key));
        let before = figures(&network.set, network.online.len());
        Self { before, after: figures(next, online.count()), by_observer: network.by_observer }
    }

    /// With those who are seen online: where a node without a seat sees them, it may be that others make up a quorum.
    pub fn would_halt(&self) -> bool {
        self.after.survives().is_none()
    }

    pub fn refusal(&self) -> Failure {
        let Figures { online, quorum, .. } = self.after;
        let detail = if self.by_observer {
            format!(
                "{online} would be online of those whom this node without a seat reaches, the quorum would be {quorum}: \
                 ask a member's node"
            )
        } else {
            format!("{online} would be online, the quorum would be {quorum}")
        };
        Failure { data: self.json(), ..Failure::coded(Code(1016), detail) }
    }

    pub fn json(&self) -> Value {
        let mut json = self.after.json(self.by_observer);
        let unknown = self.by_observer && self.would_halt();
        json["would_halt"] = if unknown { Value::Null } else { json!(self.would_halt()) };
        json["before"] = self.before.json(self.by_observer);
        json
    }

    pub fn words(&self, language: Language) -> String {
        let Self { before, after, by_observer } = self;
        let survives = |figures: &Figures, halted: &str| match (figures.survives(), by_observer) {
            (Some(more), _) => more.to_string(),
            (None, false) => halted.to_owned(),
            (None, true) => language.pick("此处不得而知", "not known here").to_owned(),
        };
        let halted = language.pick("已停摆", "halted");
        // What is proposed only would be so, unless it is already.
        let would_halt = if before.survives().is_none() { halted } else { language.pick("将停摆", "would halt") };
        let change = |name: (&str, &str), before: String, after: String| {
            let name = language.pick(name.0, name.1);
            if before == after { format!("  {name} {after}") } else { format!("  {name} {before} → {after}") }
        };
        let number = |value: usize| value.to_string();
        let (online, more) = match by_observer {
            false => {
                (("目前在线(节点所述)", "online now, as a node says"), ("还能承受的故障", "more failures survived"))
            }
            true => (
                (
                    "目前至少在线(无席位的节点所述,请问成员的节点)",
                    "online now, at least, as a node without a seat says (ask a member's)",
                ),
                ("至少还能承受的故障", "more failures survived, at least"),
            ),
        };
        [
            change(("单位数", "agencies"), number(before.agencies), number(after.agencies)),
            change(("法定数", "quorum"), number(before.quorum), number(after.quorum)),
            change(
                ("容忍故障或作恶的单位", "faulty agencies tolerated"),
                number(before.tolerates),
                number(after.tolerates),
            ),
            change(online, number(before.online), number(after.online)),
            change(more, survives(before, halted), survives(after, would_halt)),
        ]
        .join("\n")
    }
}

#[cfg(test)]
mod tests {
    use mingzhang_ledger::authority::{Member, Parameters};
    use mingzhang_ledger::crypto::PublicKey;

    use super::*;

    fn set(agencies: &[&str]) -> AuthoritySet {
        let member = |name: &&str| Member {
            agency: (*name).to_owned(),
            consensus_key: PublicKey([name.as_bytes()[0]; 32]),
            sealing_key: PublicKey([1; 32]),
            peer_key: PublicKey([2; 32]),
            url: String::new(),
        };
        AuthoritySet { epoch: 0, parameters: Parameters::default(), members: agencies.iter().map(member).collect() }
    }

    fn network(agencies: &[&str], online: &[&str]) -> Network {
        let online = online.iter().map(|name| (*name).to_owned()).collect();
        Network { set: set(agencies), online, by_observer: false }
    }

    #[test]
    fn whom_an_observer_does_not_reach_may_be_online() {
        let four = ["a", "b", "c", "d"];
        let seen = |online: &[&str]| Impact::of(&Network { by_observer: true, ..network(&four, online) }, &set(&four));
        let few = seen(&["a"]);
        let text = few.words(Language::English);
        assert!(text.contains("at least, as a node without a seat says") && text.contains("not known here"), "{text}");
        assert!(!text.contains("halted") && !few.words(Language::Chinese).contains("停摆"), "{text}");
        assert_eq!((&few.json()["would_halt"], &few.json()["survives_more_failures"]), (&Value::Null, &Value::Null));
        assert!(
            few.would_halt() && few.refusal().detail.contains("ask a member's node"),
            "nothing is signed on a guess"
        );
        let enough = seen(&["a", "b", "c"]);
        assert!(!enough.would_halt());
        assert_eq!(
            (&enough.json()["would_halt"], &enough.json()["survives_more_failures"]),
            (&json!(false), &json!(0))
        );
        assert_eq!((&enough.json()["online_at_least"], &enough.json()["before"]["online"]), (&json!(true), &json!(3)));
    }

    #[test]
    fn a_fifth_member_raises_the_quorum_and_tolerates_no_more() {
        let impact =
            Impact::of(&network(&["a", "b", "c", "d"], &["a", "b", "c", "d"]), &set(&["a", "b", "c", "d", "e"]));
        let (before, after) = (impact.before, impact.after);
        assert_eq!((before.quorum, before.tolerates, before.survives()), (3, 1, Some(1)));
        assert_eq!((after.quorum, after.tolerates, after.survives()), (4, 1, Some(1)));
        assert!(impact.words(Language::English).contains("quorum 3 → 4\n  faulty agencies tolerated 1"));
        assert!(impact.words(Language::Chinese).contains("单位数 4 → 5"));
        assert_eq!(impact.json()["before"]["agencies"], 4);
    }

    #[test]
    fn what_would_halt_the_network_is_refused() {
        let impact = Impact::of(
            &network(&["a", "b", "c", "d", "e"], &["a", "b", "c", "d"]),
            &set(&["b", "c", "d", "e", "f", "g"]),
        );
        assert!(!impact.would_halt(), "three online and two that join are five, the quorum is four");
        let impact = Impact::of(&network(&["a", "b", "c", "d", "e"], &["a", "b", "c", "d"]), &set(&["b", "c", "e"]));
        assert_eq!(impact.after.online, 2);
        let impact = Impact::of(&network(&["a", "b", "c", "d", "e"], &["a", "b", "c", "d"]), &set(&["d", "e"]));
        let told = [Language::Chinese, Language::English].map(|language| impact.words(language));
        assert!(told[0].contains("还能承受的故障 0 → 将停摆") && told[1].contains("0 → would halt"), "{told:?}");
        let impact = Impact::of(&network(&["a", "b", "c", "d", "e"], &["a", "b", "c"]), &set(&["a", "c", "d", "e"]));
        assert!(impact.would_halt() && impact.words(Language::Chinese).contains("还能承受的故障 已停摆"));
        assert_eq!(impact.refusal().code, Some(Code(1016)));
    }
}
