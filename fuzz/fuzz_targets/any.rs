//! Feeds the target that MINGZHANG_FUZZ_TARGET names, after its good bytes were written into MINGZHANG_FUZZ_CORPUS where that is
//! set; without a name it prints all names and ends. One program for all: each would hold the whole node.

#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use mingzhang_tests::fuzz::{TARGETS, Target, target};

static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

fuzz_target!(
    init: {
        let chosen = choose();
        if let Some(folder) = std::env::var_os("MINGZHANG_FUZZ_CORPUS") {
            write_good_bytes(chosen, Path::new(&folder));
        }
        assert!(CHOSEN.set(chosen).is_ok(), "the target is chosen once");
    },
    |bytes: &[u8]| (CHOSEN.get().expect("a target is chosen before the first input").run)(bytes)
);

fn choose() -> &'static Target {
    let Ok(name) = std::env::var("MINGZHANG_FUZZ_TARGET") else {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        std::process::exit(0);
    };
    target(&name).unwrap_or_else(|| panic!("there is no target {name}"))
}

fn write_good_bytes(target: &Target, folder: &Path) {
    std::fs::create_dir_all(folder).expect("the folder can be made");
    for (number, bytes) in (target.seeds)().iter().enumerate() {
        std::fs::write(folder.join(format!("good-{number}")), bytes).expect("a file can be written");
    }
}
