//! Ctrl-C while a record is on its way: what is known of it is printed before the program ends, for the outcome is not known
//! yet and the same command finds it out.

use std::sync::OnceLock;

use mingzhang_ledger::state::key::id_text;
use mingzhang_ledger::transaction::Transaction;
use serde_json::{Value, json};

use crate::output::{Answer, Printer, exit};

/// The command that runs, as its envelope names it.
static COMMAND: OnceLock<String> = OnceLock::new();

/// Tells which command runs; the first word counts.
pub fn name(command: String) {
    COMMAND.get_or_init(|| command);
}

/// What is known of a record whose answer is waited for.
pub fn of(transaction: &Transaction) -> Value {
    let payload = transaction.payload();
    json!({
        "tx_id": format!("sha256:{}", hex::encode(transaction.id())), "record_type": payload.record_type,
        "agency_id": payload.agency, "record_id": id_text(&payload.record_id), "status": "pending",
    })
}

/// From now on Ctrl-C prints what is known, a transaction or a whole import, and ends the program. Where the system gives no signals, it ends it unsaid.
pub fn watch(printer: Printer, known: Value) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let Ok(runtime) = runtime else { return };
    // The signal is caught before this returns, so that nothing is sent unwatched.
    let guard = runtime.enter();
    let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
    drop(guard);
    let Ok(mut signal) = signal else { return };
    std::thread::spawn(move || {
        if runtime.block_on(signal.recv()).is_some() {
            let words = printer.language.pick(
                "已中断,结论未知;可再次运行,不会重复记账",
                "interrupted, the outcome is not known; run it again, it is safe",
            );
            let id = known.get("tx_id").and_then(Value::as_str).unwrap_or_default();
            let text = if id.is_empty() { words.to_owned() } else { format!("{id}\n  {words}") };
            let answer = Answer::done(known, text).with_exit(exit::INTERRUPTED);
            let status = printer.finish(COMMAND.get().map_or("", String::as_str), Ok(answer));
            std::process::exit(i32::from(status));
        }
    });
}
