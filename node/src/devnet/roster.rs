//! Who takes part in a devnet: the offices of a city, the bank and the societies around them, with officers for every
//! role. The first few get a node; the others are registered and act through any node.

/// An organisation of the devnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organisation {
    pub id: String,
    pub name: String,
    pub kind: &'static str,
    pub roles: &'static [&'static str],
}

/// Officers for each role of an organisation: most rules want two different persons.
pub const OFFICERS_PER_ROLE: usize = 2;

/// id, name, kind, roles; in the order in which they get nodes.
const CITY: [(&str, &str, &str, &[&str]); 11] = [
    ("approval", "行政审批局", "bureau", &["window", "reviewer", "decider", "head", "data_owner"]),
    ("finance", "财政局", "bureau", &["finance"]),
    ("civil", "民政局", "bureau", &["programme_owner", "window", "reviewer", "decider", "head", "buyer", "data_owner"]),
    ("data", "数据局", "bureau", &["data_authority", "data_owner", "importer"]),
    ("audit", "审计局", "bureau", &["auditor"]),
    ("rural", "农业农村局", "bureau", &["programme_owner", "window", "buyer", "data_owner"]),
    ("bank", "代发银行", "bank", &["agent_bank"]),
    ("trade", "公共资源交易中心", "institution", &["trading_centre", "evaluator", "bidder"]),
    ("charity", "慈善总会", "charity", &["charity", "trustee", "programme_owner"]),
    ("market", "市场监督管理局", "bureau", &["supervisor"]),
    ("town", "城关镇人民政府", "township", &["window", "programme_owner"]),
];

/// All organisations of a devnet with that many nodes.
pub fn organisations(nodes: usize) -> Vec<Organisation> {
    let named = CITY.iter().map(|(id, name, kind, roles)| Organisation {
        id: (*id).to_owned(),
        name: (*name).to_owned(),
        kind,
        roles,
    });
    let further = (CITY.len()..nodes).map(|place| {
        let number = place - CITY.len() + 1;
        Organisation {
            id: format!("county-{number}"),
            name: format!("第{number}区县"),
            kind: "county",
            roles: &["window", "programme_owner"],
        }
    });
    named.chain(further).collect()
}

/// Rule parameters of the devnet's genesis, so that a trial takes seconds where the law wants days.
pub const SHORTENED: [(&str, u64); 4] =
    [("publicity_days", 0), ("quiet_days", 0), ("parameter_notice", 2_000), ("reveal_window", 60_000)];
