//! Keeps docs/RECORDS.md and its Chinese twin true: their tables are exactly what the schema says. A row that is missing
//! or wrong is printed as it must be.

use super::schema::{Area, COMMON, Field, FieldKind, RecordType, spelled};

const PAGES: [(&str, &str); 2] = [
    ("docs/RECORDS.md", include_str!("../../../docs/RECORDS.md")),
    ("docs/RECORDS.zh-CN.md", include_str!("../../../docs/RECORDS.zh-CN.md")),
];

fn kind_text(kind: FieldKind) -> String {
    match kind {
        FieldKind::Id => "id".into(),
        FieldKind::Ref([]) => "ref".into(),
        FieldKind::Ref(kinds) => {
            let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
            format!("ref to {}", names.join(" or "))
        }
        FieldKind::Waiting => "ref to a waiting record".into(),
        FieldKind::Hash => "hash".into(),
        FieldKind::Date => "date".into(),
        FieldKind::Time => "time".into(),
        FieldKind::Minor => "minor".into(),
        FieldKind::Amount => "amount".into(),
        FieldKind::Count => "number".into(),
        FieldKind::Currency => "cur".into(),
        FieldKind::Code => "code".into(),
        FieldKind::Declared => "declared code".into(),
        FieldKind::OneOf(codes) => spelled(codes).join("/"),
        FieldKind::Text => "text".into(),
        FieldKind::Person => "person".into(),
        FieldKind::Recipient => "recipient".into(),
        FieldKind::Role => "role".into(),
        FieldKind::Agency => "agency".into(),
        FieldKind::PublicKey => "public key".into(),
        FieldKind::Possession => "proof of possession".into(),
        FieldKind::Bytes(limit) => format!("bytes ≤ {limit}"),
        FieldKind::Bool => "bool".into(),
        FieldKind::List(item) => format!("list of {}", kind_text(*item)),
        FieldKind::Map(fields) => format!("{{{}}}", fields_text(fields)),
    }
}

fn fields_text(fields: &[Field]) -> String {
    let one = |field: &Field| {
        let unique = if field.unique.is_some() { ", unique" } else { "" };
        let optional = if field.required { "" } else { "?" };
        format!("`{}`{optional} {}{unique}", field.name, kind_text(field.kind))
    };
    fields.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn row(record_type: &RecordType) -> String {
    let roles: Vec<_> = record_type.submitters.iter().map(|role| role.code()).collect();
    let roles = if roles.is_empty() { "any officer".to_owned() } else { roles.join(", ") };
    let fields = fields_text(record_type.fields);
    let fields = if fields.is_empty() { "–".to_owned() } else { fields };
    format!("| `{}` | {} | {roles} | {fields} |", record_type.name, record_type.zh)
}

/// The heading under which the records of an area stand.
fn heading(area: Area) -> &'static str {
    match area {
        Area::Registry => "## Registry 登记",
        Area::Governance => "## Governance 治理",
        Area::Case => "## Case 事项",
        Area::Fund => "## Funds 资金",
        Area::Tender => "## Tender 交易",
        Area::Data => "## Data 数据",
        Area::Exchange => "## Exchange 协同",
        Area::Everywhere => "## Everywhere 通用",
        Area::Import => "## Import 历史导入",
    }
}

/// The part of a page from a heading to the next.
fn section<'p>(page: &'p str, heading: &str) -> &'p str {
    let mut parts = page.split_inclusive('\n').peekable();
    let mut start = 0;
    while let Some(line) = parts.next_if(|line| line.trim_end() != heading) {
        start += line.len();
    }
    let rest = &page[start..];
    let end = rest.get(1..).and_then(|rest| rest.find("\n## ")).map_or(rest.len(), |end| end + 1);
    &rest[..end]
}

#[test]
fn every_record_type_stands_in_its_section_as_the_schema_has_it() {
    let common = format!("| every record | 通用字段 | – | {} |", fields_text(COMMON));
    for (name, page) in PAGES {
        let lacks = |record_type: &&RecordType| {
            !section(page, heading(record_type.area)).lines().any(|line| line == row(record_type))
        };
        let missing: Vec<String> = super::all()
            .filter(lacks)
            .map(|record_type| format!("{}: {}", heading(record_type.area), row(record_type)))
            .collect();
        assert!(missing.is_empty(), "{name} lacks:\n{}", missing.join("\n"));
        assert!(page.lines().any(|line| line == common), "{name} lacks:\n{common}");
    }
}

#[test]
fn the_pages_describe_no_record_type_that_does_not_exist() {
    for (page_name, page) in PAGES {
        let mut described = 0;
        for line in page.lines().filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 3) {
            let name = line.split('`').nth(1).unwrap_or_default();
            assert!(super::record_type(name).is_some(), "{page_name} describes {name}, which does not exist");
            described += 1;
        }
        assert_eq!(described, super::all().count(), "{page_name} describes a record type twice");
    }
}
