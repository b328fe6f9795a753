//! Ctrl-C while a record or an import is on its way: what is known of it is printed before the program ends, for the outcome
//! is not known yet and the same command finds it out.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mingzhang_ledger::state::key::id_text;
use mingzhang_ledger::transaction::Transaction;
use serde_json::{Value, json};

use crate::output::{Answer, Language, Printer, exit};

/// The command that runs, as its envelope names it.
static COMMAND: OnceLock<String> = OnceLock::new();

/// How long a line that is being printed is waited for.
const PRINTING_TRIES: usize = 40;
const PRINTING_PAUSE: Duration = Duration::from_millis(25);

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

/// From now on Ctrl-C prints what is known of a transaction and ends the program.
pub fn watch(printer: Printer, known: Value) {
    end_with(printer, move || {
        let words = printer.language.pick(
            "已中断,结果未知;可再次运行,不会重复记账",
            "interrupted, the outcome is not known; run it again, it is safe",
        );
        let text = format!("{}\n  {words}", known.get("tx_id").and_then(Value::as_str).unwrap_or_default());
        Answer::done(known, text)
    });
}

/// Records of this run that have their definite answer, earlier runs' included as they are met again.
static ANSWERED: AtomicUsize = AtomicUsize::new(0);

/// Counts records of an import that have their definite answer.
pub fn answered(records: usize) {
    ANSWERED.fetch_add(records, Ordering::Relaxed);
}

/// From now on Ctrl-C says how far an import came, and ends the program.
pub fn watch_import(printer: Printer, format: &'static str) {
    end_with(printer, move || {
        let done = ANSWERED.load(Ordering::Relaxed);
        let text = match printer.language {
            Language::Chinese => format!(
                "导入已中断:{done} 条记录已有结果,已记录的仍然有效;未写报告\n  再次运行同一命令即从此处继续,不会重复记账"
            ),
            Language::English => format!(
                "import interrupted: {done} records have their answer and stand; no report was written\n  \
                 run the same command again: it goes on from here and records nothing twice"
            ),
        };
        Answer::done(json!({ "format": format, "status": "pending", "records_answered": done }), text)
    });
}

/// From now on Ctrl-C says how far a stream came, in JSON and in words, and ends the program. While a line is being printed
/// that is not known yet.
pub fn watch_stream(printer: Printer, known: impl Fn() -> Option<(Value, String)> + Send + 'static) {
    end_with(printer, move || {
        for _ in 0..PRINTING_TRIES {
            if let Some((data, words)) = known() {
                if !printer.json {
                    printer.note(&words);
                }
                return Answer::done(data, "");
            }
            std::thread::sleep(PRINTING_PAUSE);
        }
        // Whoever reads stdout takes nothing: nothing more can be printed either.
        std::process::exit(i32::from(exit::INTERRUPTED));
    });
}

/// Where the system gives no signals, Ctrl-C ends the program unsaid.
fn end_with(printer: Printer, known: impl FnOnce() -> Answer + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let Ok(runtime) = runtime else { return };
    // The signal is caught before this returns, so that nothing is sent unwatched.
    let guard = runtime.enter();
    let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
    drop(guard);
    let Ok(mut signal) = signal else { return };
    std::thread::spawn(move || {
        if runtime.block_on(signal.recv()).is_some() {
            let answer = known().with_exit(exit::INTERRUPTED);
            let status = printer.finish(COMMAND.get().map_or("", String::as_str), Ok(answer));
            std::process::exit(i32::from(status));
        }
    });
}
