//! The lines of a CSV on which its rows begin, and the quotes that would make a lenient reader take several rows for one.

use super::broken::Broken;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    RowStart,
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote within a quoted value: its end, or half of a doubled one.
    Closing,
}

/// The line of each row that is not blank, the header's first.
pub fn lines(text: &str) -> Result<Vec<u64>, Broken> {
    let (mut line, mut opened, mut place) = (1, 1, Place::RowStart);
    let (mut rows, mut faults): (Vec<u64>, Vec<Broken>) = (Vec::new(), Vec::new());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let ends = char == '\n' || char == '\r';
        if place == Place::RowStart && !ends {
            rows.push(line);
            place = Place::FieldStart;
        }
        place = match (place, char) {
            (Place::Quoted, '"') => Place::Closing,
            (Place::Quoted, _) => Place::Quoted,
            (_, '\n' | '\r') => Place::RowStart,
            (_, ',') => Place::FieldStart,
            (Place::FieldStart, '"') => {
                opened = line;
                Place::Quoted
            }
            (Place::Closing, '"') => Place::Quoted,
            (Place::Closing, ' ' | '\t') => Place::Closing,
            (Place::Closing, _) => {
                faults.push(Broken::at(line, Broken::new("text after a closing quote")));
                Place::Plain
            }
            (_, '"') => {
                let within = Broken::new("a quote within a value that is not quoted");
                faults.push(Broken::at(line, within));
                Place::Plain
            }
            _ => Place::Plain,
        };
        // Two characters may end one line.
        if char == '\n' || (char == '\r' && chars.peek() != Some(&'\n')) {
            line += 1;
        }
    }
    if place == Place::Quoted {
        faults.push(Broken::at(opened, Broken::new("a quote is not closed")));
    }
    if faults.is_empty() { Ok(rows) } else { Err(Broken::listed(&faults)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_begin_where_the_file_says() {
        assert_eq!(lines("a,b\n1,\"x\ny\"\n\n\r\n2,\"say \"\"hi\"\"\" \n3,"), Ok(vec![1, 2, 6, 7]));
        assert_eq!(lines("\na\r\r1\r\n2"), Ok(vec![2, 4, 5]));
        assert_eq!(lines(""), Ok(Vec::new()));
    }

    #[test]
    fn stray_and_open_quotes_are_named_with_their_line() {
        for (text, fault) in [
            ("a\n\"x\n2\n3\n", "line 2: a quote is not closed"),
            ("a\nx\n\"b\"c\n", "line 3: text after a closing quote"),
            ("a,b\n1,5\" pipe\n", "line 2: a quote within a value that is not quoted"),
            ("a,b\n1, \"x\"\n", "line 2: a quote within a value that is not quoted"),
        ] {
            assert!(lines(text).is_err_and(|found| found.0.starts_with(fault)), "{text}");
        }
    }
}
