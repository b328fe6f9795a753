//! Texts for a terminal: lines of at most 80 columns, in Latin and in Han script. What the texts say is the catalogue's
//! matter, and the commands'.

/// Columns that texts for people keep within.
pub const COLUMNS: usize = 80;

/// Breaks a text into lines of at most 80 columns, each indented. Han characters take two columns and may be parted
/// anywhere, other words only at spaces.
pub fn wrap(text: &str, indent: usize) -> String {
    let mut lines = Vec::new();
    let (mut line, mut used) = (String::new(), 0);
    for word in words(text) {
        let wide: usize = word.trim_end().chars().map(columns).sum();
        if used > 0 && indent.saturating_add(used).saturating_add(wide) > COLUMNS {
            lines.push(format!("{:indent$}{}", "", line.trim_end()));
            (line, used) = (String::new(), 0);
        }
        line.push_str(word);
        used = used.saturating_add(word.chars().map(columns).sum());
    }
    lines.push(format!("{:indent$}{}", "", line.trim_end()));
    lines.join("\n")
}

/// A text cut where a line may end: after a space, and on both sides of a wide character, save before punctuation.
fn words(text: &str) -> Vec<&str> {
    let mut cuts = vec![0];
    let mut before = ' ';
    for (at, char) in text.char_indices() {
        let wide = columns(char) == 2 || columns(before) == 2;
        let closes =
            matches!(char, ' ' | ',' | '.' | ';' | ':' | ')' | '，' | '。' | '；' | '、' | '：' | '）' | '」' | '”');
        let opens = matches!(before, '(' | '（' | '「' | '“');
        if at > 0 && !closes && !opens && (before == ' ' || wide) {
            cuts.push(at);
        }
        before = char;
    }
    cuts.push(text.len());
    cuts.windows(2).filter_map(|pair| text.get(*pair.first()?..*pair.last()?)).collect()
}

/// Columns that a character takes on a terminal: two for Han characters and full-width forms.
fn columns(char: char) -> usize {
    match char {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, indent: usize) {
        let lines = wrap(text, indent);
        for line in lines.lines() {
            assert!(line.chars().map(columns).sum::<usize>() <= COLUMNS, "{line}");
            assert!(line.starts_with(&" ".repeat(indent)), "{line}");
        }
        let joined: String = lines.split_whitespace().collect();
        assert_eq!(joined, text.split_whitespace().collect::<String>(), "nothing is lost");
    }

    #[test]
    fn lines_keep_within_the_columns() {
        check(&"word and more ".repeat(20), 8);
        check(&"可用额不足,请减少金额。".repeat(12), 8);
        check(&"mixed 文字 and words, ".repeat(9), 4);
        check("short", 0);
    }
}
