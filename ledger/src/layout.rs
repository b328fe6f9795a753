//! Texts for a terminal: lines of at most 80 columns, in Latin and in Han script. What the texts say is the catalogue's
//! matter, and the commands'.

/// Columns that texts for people keep within.
const COLUMNS: usize = 80;

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

/// A line that is too long, broken: what follows hangs below the text behind its last wide gap, or below its begin.
pub fn hang(line: &str) -> String {
    if line.chars().map(columns).sum::<usize>() <= COLUMNS {
        return line.to_owned();
    }
    let words = line.trim_start();
    let begin = line.len().saturating_sub(words.len());
    let at = words.rfind("  ").map_or(begin, |gap| begin.saturating_add(gap).saturating_add(2));
    let (head, text) = line.split_at_checked(at).unwrap_or(("", line));
    let indent = head.chars().map(columns).sum();
    let broken = wrap(text, indent);
    format!("{head}{}", broken.trim_start())
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

    #[test]
    fn texts_keep_within_their_columns() {
        assert_eq!(wrap("short", 2), "  short");
        let english = wrap(&"seventeen letters ".repeat(20), 8);
        assert!(english.lines().all(|line| line.len() <= 80 && line.starts_with("        s")), "{english}");
        let chinese = wrap(&"驳回已记入账本,".repeat(12), 8);
        for line in chinese.lines() {
            assert!(line.chars().map(columns).sum::<usize>() <= 80, "{line}");
            assert!(!line.trim_start().starts_with(','), "{line}");
        }
        assert_eq!(chinese.replace([' ', '\n'], ""), "驳回已记入账本,".repeat(12));
        let long = "x".repeat(100);
        assert_eq!(wrap(&format!("a {long} b"), 0), format!("a\n{long}\nb"));
        let help = hang(&format!("  --out <FILE>  {}", "写入此文件,".repeat(12)));
        assert!(
            help.lines().count() > 1 && help.lines().skip(1).all(|line| line.starts_with(&" ".repeat(16))),
            "{help}"
        );
        assert!(help.lines().all(|line| line.chars().map(columns).sum::<usize>() <= 80), "{help}");
    }
}
