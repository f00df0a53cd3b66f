//! The page of a folder, for people: a table of folders and files whose heads sort it, with a
//! search field for many entries, and several pages for more.

#![forbid(unsafe_code)]

use super::frame;
use super::listing::{Entry, Key, Kind, Listing, MAX_ENTRIES, Order, View};
use super::query;
use crate::media;
use ropewalk::codec::text::escape;
use ropewalk::codec::{amount, date, html, percent};
use std::io::{self, Write};

/// The most entries of a page without a search field.
const FEW_ENTRIES: u64 = 100;

/// The columns: label, class, key, and whether the first click sorts in descending order.
const COLUMNS: [(&str, &str, Key, bool); 3] = [
    ("Name", "n", Key::Name, false),
    ("Size", "s", Key::Size, true),
    ("Modified", "m", Key::Modified, true),
];

/// What a page for people has beside the entries.
#[derive(Debug, Default)]
pub(super) struct Extras {
    /// The beginning of the command that fetches a file of the folder (`index/command.rs`).
    pub(super) command: Option<String>,
    /// Whether it has a field for files that are put into the folder.
    pub(super) takes_files: bool,
}

/// Writes the page of the folder that the client names `path`.
///
/// # Errors
/// Those of `out`.
pub(super) fn write(
    out: &mut impl Write,
    path: &[u8],
    view: &View,
    listing: &Listing,
    extras: &Extras,
) -> io::Result<()> {
    let whole = view.after.is_none() && !listing.more && view.pattern.is_none();
    let mut body = String::new();
    if whole {
        body.push_str(" data-whole");
    }
    if let Some(command) = &extras.command {
        body.push_str(&format!(" data-command=\"{}\"", html::escape(command)));
    }
    frame::begin(out, &escape(path), &body)?;
    out.write_all(b"<header>\n")?;
    frame::heading(out, path)?;
    if listing.folders + listing.files > FEW_ENTRIES || view.pattern.is_some() {
        write_search(out, view)?;
    }
    out.write_all(b"</header>\n<main>\n")?;
    match (&view.pattern, listing.entries.is_empty()) {
        (_, false) => write_table(out, view, listing)?,
        (None, true) if listing.before == 0 => {
            out.write_all(b"<p class=\"empty\">This folder is empty.</p>\n")?;
        }
        (None, true) => out.write_all(b"<p class=\"empty\">Nothing is left to show.</p>\n")?,
        (Some(_), true) => {
            out.write_all(b"<p class=\"empty\">No name contains this text.</p>\n")?
        }
    }
    if extras.takes_files {
        frame::upload_field(out)?;
    }
    out.write_all(b"</main>\n<footer>\n")?;
    write_foot(out, view, listing)?;
    out.write_all(
        b"</footer>\n<dialog aria-labelledby=\"how\"><h2 id=\"how\">Fetch it with ropewalk</h2>\n\
          <pre><code id=\"command\"></code></pre>\n<div class=\"row\">\
          <button type=\"button\" data-copy=\"command\">Copy</button>\
          <button type=\"button\" data-close>Close</button></div></dialog>\n",
    )?;
    frame::end(out)
}

fn write_search(out: &mut impl Write, view: &View) -> io::Result<()> {
    let pattern = html::escape(view.pattern.as_deref().unwrap_or_default());
    write!(
        out,
        "<form role=\"search\" action=\"./\"><label for=\"q\">Search this folder</label>\
         <input type=\"search\" id=\"q\" name=\"q\" value=\"{pattern}\" autocomplete=\"off\" \
         spellcheck=\"false\">"
    )?;
    if view.order != View::all(Key::Name).order {
        write!(out, "<input type=\"hidden\" name=\"sort\" value=\"{}\">", query::sort(view.order))?;
    }
    out.write_all(b"<button>Search</button>")?;
    if view.pattern.is_some() {
        let all = href(&View { pattern: None, after: None, ..view.clone() });
        write!(out, "<a rel=\"nofollow\" href=\"{all}\">Show all</a>")?;
    }
    out.write_all(b"</form>\n")
}

fn write_table(out: &mut impl Write, view: &View, listing: &Listing) -> io::Result<()> {
    out.write_all(b"<table>\n<thead><tr>")?;
    for (label, class, key, descending) in COLUMNS {
        let current = view.order.key == key;
        let sort = match (current, view.order.descending) {
            (false, _) => "",
            (true, false) => " aria-sort=\"ascending\"",
            (true, true) => " aria-sort=\"descending\"",
        };
        let descending = if current { !view.order.descending } else { descending };
        let order = Order { key, descending };
        let link = href(&View { order, after: None, ..view.clone() });
        let zone = if key == Key::Modified { "<span class=\"zone\"> (UTC)</span>" } else { "" };
        write!(
            out,
            "<th scope=\"col\" class=\"{class}\"{sort}>\
             <a rel=\"nofollow\" href=\"{link}\">{label}{zone}</a></th>"
        )?;
    }
    out.write_all(
        b"<th scope=\"col\" class=\"g\"><span class=\"hide\">Actions</span></th></tr></thead>\n<tbody>\n",
    )?;
    listing.entries.iter().try_for_each(|entry| write_row(out, entry))?;
    out.write_all(b"</tbody>\n</table>\n")
}

fn write_row(out: &mut impl Write, entry: &Entry) -> io::Result<()> {
    let link = percent::encode_segment(&entry.name);
    let name = html::escape_breakable(&escape(&entry.name));
    let modified = time(entry.modified);
    match entry.kind {
        Kind::Folder => writeln!(
            out,
            "<tr class=\"d\"><th scope=\"row\"><a href=\"{link}/\">{name}/</a></th>\
             <td class=\"s\"></td><td class=\"m\">{modified}</td><td class=\"g\"></td></tr>"
        ),
        Kind::File(size) => {
            let view = match media::view_type(&entry.name) {
                Some(_) => format!("<a rel=\"nofollow\" href=\"{link}?view\">View</a>"),
                None => String::new(),
            };
            writeln!(
                out,
                "<tr><th scope=\"row\"><a href=\"{link}\">{name}</a></th>\
                 <td class=\"s\">{}</td><td class=\"m\">{modified}</td><td class=\"g\">{view}\
                 <a rel=\"nofollow\" data-c href=\"{link}?get\">Command</a></td></tr>",
                size_in_words(size)
            )
        }
    }
}

fn write_foot(out: &mut impl Write, view: &View, listing: &Listing) -> io::Result<()> {
    let all = listing.folders + listing.files;
    let mut words = Vec::new();
    if listing.folders > 0 {
        words.push(counted(listing.folders, "folder"));
    }
    if listing.files > 0 {
        words.push(counted(listing.files, "file"));
        words.push(size_in_words(listing.bytes));
    }
    writeln!(
        out,
        "<p class=\"note\" id=\"found\" role=\"status\">{}{}</p>",
        words.join(", "),
        if view.pattern.is_some() && all > 0 { " found" } else { "" }
    )?;
    if view.after.is_none() && !listing.more {
        return Ok(());
    }
    let first = listing.before + 1;
    let last = listing.before + listing.entries.len() as u64;
    write!(out, "<nav class=\"note\" aria-label=\"Pages\">")?;
    if last >= first {
        let [first, last, all] = [first, last, all].map(amount::grouped);
        write!(out, "{first} to {last} of {all}")?;
    }
    if view.after.is_some() {
        let first = href(&View { after: None, ..view.clone() });
        write!(out, " <a rel=\"nofollow\" href=\"{first}\">First page</a>")?;
    }
    if let (true, Some(last)) = (listing.more, listing.entries.last()) {
        let next = href(&View { after: Some(last.clone()), ..view.clone() });
        let count = (all - listing.before - listing.entries.len() as u64).min(MAX_ENTRIES as u64);
        write!(out, " <a rel=\"next\" href=\"{next}\">Next {}</a>", amount::grouped(count))?;
    }
    out.write_all(b"</nav>\n")
}

/// A link to the same folder in this view.
fn href(view: &View) -> String {
    match query::encode(view).as_str() {
        "" => "./".to_string(),
        query => html::escape(&format!("?{query}")),
    }
}

fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", amount::grouped(count), if count == 1 { "" } else { "s" })
}

/// A date for people and for the script; empty before 1970.
pub(super) fn time(modified: i64) -> String {
    let Ok(seconds) = u64::try_from(modified) else { return String::new() };
    let text = date::format_short(seconds);
    format!("<time datetime=\"{}Z\">{text}</time>", text.replace(' ', "T"))
}

/// A size of at most four digits before the point, with a unit.
pub(super) fn size_in_words(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let Some(power) = (bytes.max(1).ilog2() / 10).checked_sub(1) else {
        return format!("{bytes} B");
    };
    let unit = units.into_iter().nth(power as usize).unwrap_or_default();
    // Tenths, cut and not rounded, so that no file looks larger than it is.
    let tenths = (u128::from(bytes) * 10) >> (10 * (power + 1));
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(view: &View, listing: &Listing) -> String {
        let mut out = Vec::new();
        let command = Some("./client http://box/x/%3Ca%3E/".to_string());
        let extras = Extras { command, takes_files: false };
        write(&mut out, b"/x/<a>/", view, listing, &extras).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn file(name: &[u8], size: u64) -> Entry {
        Entry { name: name.to_vec(), kind: Kind::File(size), modified: 784_111_777 }
    }

    fn listing(entries: Vec<Entry>) -> Listing {
        Listing { files: entries.len() as u64, bytes: 3 << 20, entries, ..Listing::default() }
    }

    #[test]
    fn a_name_is_only_text_in_a_page() {
        let plain = page(&View::all(Key::Name), &listing(vec![]));
        let names: [(&[u8], &str, &str); 4] = [
            (b"<script>\"'&", "%3Cscript%3E%22%27%26", "&lt;script&gt;&quot;&#39;&amp;</a>"),
            (b"javascript:x", "javascript%3Ax", "javascript:x</a>"),
            (b"\" onclick=x", "%22%20onclick%3Dx", "&quot; onclick=x</a>"),
            (b"\xff\n</table>", "%FF%0A%3C%2Ftable%3E", "\\xff\\x0a&lt;/table&gt;</a>"),
        ];
        for (name, link, shown) in names {
            let text = page(&View::all(Key::Name), &listing(vec![file(name, 1)]));
            assert!(text.contains(&format!("<a href=\"{link}\">{shown}")), "{shown}: {text}");
            assert!(text.contains(&format!("data-c href=\"{link}?get\"")), "{text}");
            for tag in ["<script", "</table", "<img"] {
                let own = plain.matches(tag).count() + usize::from(tag == "</table");
                assert_eq!(text.matches(tag).count(), own, "{tag}: {text}");
            }
        }
    }

    #[test]
    fn a_pattern_does_nothing_in_a_page() {
        let pattern = Some("\"><script>&'".to_string());
        let view = View { pattern, ..View::all(Key::Size) };
        let text = page(&view, &listing(vec![]));
        assert_eq!(text.matches("<script").count(), 1);
        assert!(text.contains("value=\"&quot;&gt;&lt;script&gt;&amp;&#39;\""), "{text}");
        assert!(text.contains("No name contains this text."));
    }

    #[test]
    fn the_heads_of_columns_sort_and_say_how_it_is_sorted() {
        for (key, descending, sorted, links) in [
            (
                Key::Name,
                false,
                "n\" aria-sort=\"ascending",
                ["?sort=-name", "?sort=-size", "?sort=-date"],
            ),
            (Key::Name, true, "n\" aria-sort=\"descending", ["./", "?sort=-size", "?sort=-date"]),
            (Key::Size, true, "s\" aria-sort=\"descending", ["./", "?sort=size", "?sort=-date"]),
            (
                Key::Modified,
                false,
                "m\" aria-sort=\"ascending",
                ["./", "?sort=-size", "?sort=-date"],
            ),
        ] {
            let after = Some(file(b"a", 1));
            let view = View { order: Order { key, descending }, after, pattern: None };
            let text = page(&view, &listing(vec![file(b"b", 1)]));
            assert_eq!(text.matches("aria-sort=\"").count(), 1);
            assert!(text.contains(&format!("class=\"{sorted}\"")), "{text}");
            let head = text.split("<thead>").nth(1).unwrap().split("</thead>").next().unwrap();
            let found: Vec<&str> =
                head.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
            assert_eq!(found, links);
        }
    }

    #[test]
    fn the_foot_counts_and_leads_to_the_other_pages() {
        let mut found = listing(vec![file(b"b", 1)]);
        (found.folders, found.files, found.before, found.more) = (1, 12_000, 10_000, true);
        let text = page(&View { after: Some(file(b"a", 1)), ..View::all(Key::Name) }, &found);
        assert!(text.contains("1 folder, 12,000 files, 3.0 MiB</p>"), "{text}");
        assert!(
            text.contains("10,001 to 10,001 of 12,001 <a rel=\"nofollow\" href=\"./\">"),
            "{text}"
        );
        let next = "<a rel=\"next\" href=\"?after=f1.784111777.b\">Next 2,000</a>";
        assert!(text.contains(next), "{text}");
        assert!(!text.contains("data-whole>"), "{text}");
        let text = page(&View::all(Key::Name), &listing(vec![file(b"b", 1)]));
        assert!(text.contains(">1 file, 3.0 MiB</p>") && !text.contains("aria-label=\"Pages\""));
        assert!(text.contains("<body data-whole data-command=\"./client http://box/x/%3Ca%3E/\">"));
    }

    #[test]
    fn a_search_field_is_there_where_it_is_of_use() {
        for (count, expected) in [(100, 0), (101, 1)] {
            let entries = (0..count).map(|at| file(format!("{at}").as_bytes(), 1)).collect();
            let text = page(&View::all(Key::Name), &listing(entries));
            assert_eq!(text.matches("type=\"search\"").count(), expected);
        }
    }

    #[test]
    fn an_empty_folder_says_so() {
        let text = page(&View::all(Key::Name), &listing(vec![]));
        assert!(text.contains("This folder is empty.") && !text.contains("<table"));
    }

    #[test]
    fn what_can_be_shown_has_a_link_for_that() {
        let entries = vec![file(b"a.txt", 1), file(b"a.iso", 1), file(b"a b.pdf", 1)];
        let text = page(&View::all(Key::Name), &listing(entries));
        assert_eq!(text.matches("?view\"").count(), 2);
        assert!(text.contains("<a rel=\"nofollow\" href=\"a%20b.pdf?view\">View</a>"));
    }

    #[test]
    fn dates_before_1970_are_not_shown() {
        assert_eq!(time(-1), "");
        assert_eq!(time(0), "<time datetime=\"1970-01-01T00:00Z\">1970-01-01 00:00</time>");
    }

    #[test]
    fn sizes_have_four_digits_at_most() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1 << 20, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size_in_words(bytes), expected);
        }
    }
}
