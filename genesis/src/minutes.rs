//! The sheet that the founders sign on paper: what the network is, and the fingerprints to compare by phone.

use std::fmt::Write as _;

use crate::ceremony::grouped;
use crate::document::{Agency, Document, Key, PlacedKey, Role};
use crate::genesis::Genesis;
use mingzhang_ledger::crypto::sha256;

/// Minutes of the founding, in both languages, for print in a fixed-width font.
pub fn sheet(genesis: &Genesis) -> String {
    let document = &genesis.document;
    let set = &genesis.set;
    let mut text = String::new();
    let mut line = |content: String| {
        // Writing to a String cannot fail.
        let written = writeln!(text, "{content}");
        debug_assert!(written.is_ok());
    };
    line("明账网络创立记录 / Minutes of the founding of a Mingzhang network".to_owned());
    line(String::new());
    line(format!("网络 network       {}", document.name));
    line(format!("标识 origin        {}", genesis.origin));
    line(format!("创世哈希 genesis    sha256:{}", hex::encode(genesis.hash)));
    line(format!("电话核对 by phone   {}", grouped(&genesis.hash)));
    line(format!("机构 agencies      {} ({} 个共识节点 / with a node)", document.agencies.len(), set.members.len()));
    line(format!("法定数 quorum      {} (可容忍 {} 个故障 / faults tolerated)", set.quorum(), set.tolerated_faults()));
    if document.development {
        line("测试网 DEVELOPMENT NETWORK: 不得用于实际业务 / not for use".to_owned());
    }
    if document.test_keys {
        line("测试密钥 TEST KEYS: 私钥未加密 / private keys lie in clear".to_owned());
    }
    line(format!("货币 currencies    {}", document.currencies.join(", ")));
    line(format!("时区 utc offset    {} min", document.utc_offset_minutes));
    let (threshold, count) = (document.recovery.threshold, document.recovery.keys.len());
    line(format!("恢复密钥 recovery   {threshold} / {count} 把签署 / keys sign"));
    for held in &document.recovery.keys {
        line(format!("  {:<14} {}", held.agency, short(&held.key)));
    }
    line(String::new());
    line("参数 Parameters that differ from their defaults".to_owned());
    for (name, value) in document.consensus.0.iter().chain(&document.rules.0) {
        line(format!("  {name} = {value}"));
    }
    for agency in &document.agencies {
        line(String::new());
        line(format!("{} {} ({})", agency.id, agency.name, agency.roles.join(", ")));
        line(format!("  密钥指纹 keys     {}", agency_fingerprint(document, agency)));
        if let Some(node) = &agency.node {
            line(format!("  网址 url          {}", node.url));
        }
        for officer in &agency.officers {
            let roles: Vec<String> = officer.roles.iter().map(role_text).collect();
            line(format!("  经办人 officer    {} {}", short(&officer.key), roles.join(", ")));
        }
        line("  代表 representative ____________________  签字 signature ____________________".to_owned());
    }
    text
}

/// A role with the largest amount that it covers.
fn role_text(role: &Role) -> String {
    role.max_minor.map_or_else(|| role.role.clone(), |most| format!("{} (max_minor {most})", role.role))
}

/// The beginning of a key; the fingerprint of its agency covers it whole.
fn short(key: &Key) -> String {
    hex::encode(key.0.0).chars().take(16).collect()
}

/// One digest over all keys in an agency's name: its own, then recovery and log keys, in the order of the document.
pub fn agency_fingerprint(document: &Document, agency: &Agency) -> String {
    fingerprint_of(&document.keys_of(&agency.id))
}

/// The same, of keys that are not in a genesis yet.
pub fn fingerprint_of(keys: &[PlacedKey]) -> String {
    let parts: Vec<&[u8]> = keys.iter().map(|place| place.key.0.as_slice()).collect();
    grouped(&sha256(&parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{document, key};

    #[test]
    fn the_sheet_names_hash_quorum_and_every_agency() {
        let mut document = document();
        document.recovery.threshold = 1;
        document.recovery.keys.push(crate::document::HeldKey { agency: "bank".into(), key: Key(key(99).public()) });
        document.rules.0.insert("publicity_days".to_owned(), 5);
        let genesis = Genesis::parse(&document.to_bytes().unwrap()).unwrap();
        let sheet = sheet(&genesis);
        for wanted in [
            &hex::encode(genesis.hash),
            "quorum      3",
            "publicity_days = 5",
            "bank bank 局 (agent_bank)",
            "recovery   1 / 1",
            "CNY",
            "480 min",
            "https://civil.example.gov/",
        ] {
            assert!(sheet.contains(wanted), "{wanted}\n{sheet}");
        }
        let fingerprint = agency_fingerprint(&genesis.document, &genesis.document.agencies[0]);
        assert!(sheet.contains(&fingerprint));
        assert_ne!(fingerprint, agency_fingerprint(&genesis.document, &genesis.document.agencies[1]));
    }
}
