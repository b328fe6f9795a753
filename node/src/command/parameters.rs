//! Parameters of a genesis on the command line: `--set NAME=VALUE`. What they may be is decided by the ledger.

use mingzhang_genesis::document::Numbers;
use mingzhang_ledger::authority::Parameters;
use mingzhang_ledger::rules;

use super::answer::Failure;

/// Consensus parameters and rule parameters, by their names. A name that is neither is left to the check of the document.
pub fn parse(settings: &[String]) -> Result<(Numbers, Numbers), Failure> {
    let (mut consensus, mut rules) = (Numbers::default(), Numbers::default());
    for text in settings {
        let wrong = || Failure::usage(format!("--set {text} is not NAME=VALUE with a whole number"));
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        let value: u64 = value.parse().map_err(|_| wrong())?;
        let known = Parameters::default().set(name, value);
        let numbers = if known { &mut consensus } else { &mut rules };
        if numbers.0.insert(name.to_owned(), value).is_some() {
            return Err(Failure::usage(format!("--set {name} is given twice")));
        }
    }
    Ok((consensus, rules))
}

/// Names them all.
pub fn help() -> String {
    let consensus = Parameters::default().named().map(|(name, _)| name).join(", ");
    let rules: Vec<&str> = rules::PARAMETERS.iter().map(|parameter| parameter.name).collect();
    let rules = rules.join(", ");
    format!(
        "A parameter that shall differ from its default (repeat). Consensus: {consensus}. Rules: {rules} \
         与默认值不同的参数(可重复)。共识: {consensus}。规则: {rules}"
    )
}
