//! Objects of a JSON text that state one key twice. A parser keeps the last and says nothing.

use std::collections::BTreeSet;

use super::broken::Broken;

/// Refuses a text, which is JSON, in which an object has a key twice.
pub fn keys(text: &[u8]) -> Result<(), Broken> {
    // The keys of each open object; none of a list.
    let mut open: Vec<Option<BTreeSet<String>>> = Vec::new();
    let (mut line, mut awaits_key, mut at) = (1, false, 0);
    while let Some(byte) = text.get(at) {
        match byte {
            b'\n' => line += 1,
            b'{' => {
                open.push(Some(BTreeSet::new()));
                awaits_key = true;
            }
            b'[' => {
                open.push(None);
                awaits_key = false;
            }
            b'}' | b']' => {
                open.pop();
                awaits_key = false;
            }
            b',' => awaits_key = matches!(open.last(), Some(Some(_))),
            b'"' => {
                let end = end_of_string(text, at);
                if let (true, Some(Some(keys))) = (awaits_key, open.last_mut()) {
                    let key = text.get(at..end).and_then(|text| serde_json::from_slice::<String>(text).ok());
                    let key = key.unwrap_or_default();
                    if !keys.insert(key.clone()) {
                        return Err(Broken::at(line, Broken::new(format!("{key:?} twice in one object"))));
                    }
                }
                awaits_key = false;
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// The place behind the closing quote of a string that begins here.
fn end_of_string(text: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_once_in_its_object() {
        let plain = r#"{"a": [{"b": "x\",", "c": "b"}, {"b": {"a": 1, "b": [1, 2]}}], "b": ","}"#;
        assert_eq!(keys(plain.as_bytes()), Ok(()));
        let escaped = "{\n\"a\": [{\"b\": {},\n\"\\u0062\": 2}]}";
        let fault = keys(escaped.as_bytes()).expect_err("b twice");
        assert_eq!(fault.0, "line 3: \"b\" twice in one object");
    }
}
