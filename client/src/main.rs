//! `mingzhang`: everybody's tool. Arguments in, exit status out; everything else is in the library.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(mingzhang_client::command::run())
}
