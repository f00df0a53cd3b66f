//! The page of one file, for people: its size and date, links, and the command that fetches
//! it. The page works without a script.

#![forbid(unsafe_code)]

use super::{command, folder_page, frame};
use crate::media;
use ropewalk::codec::text::escape;
use ropewalk::codec::{amount, html, percent};
use ropewalk::transfer::source::identity::Version;
use std::io::{self, Write};

/// The page of the file that the client names `path`, at this URL.
pub(super) fn page(path: &[u8], url: &str, version: &Version) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let link = percent::encode_segment(name);
    frame::begin(&mut out, &escape(name), "")?;
    out.write_all(b"<header>\n")?;
    frame::heading(&mut out, path)?;
    writeln!(
        out,
        "</header>\n<main>\n<dl><dt>Size</dt><dd>{}</dd><dt>Modified</dt>\
         <dd>{}<span class=\"zone\"> UTC</span></dd></dl>",
        size(version.size),
        folder_page::time(version.mtime.seconds)
    )?;
    writeln!(
        out,
        "<div class=\"row\"><a class=\"button main\" rel=\"nofollow\" href=\"{link}\">Download</a>{}</div>",
        match media::view_type(path) {
            Some(_) => {
                format!("<a class=\"button\" rel=\"nofollow\" href=\"{link}?view\">View</a>")
            }
            None => String::new(),
        }
    )?;
    writeln!(
        out,
        "<h2>Fetch it with ropewalk</h2>\n<pre><code id=\"command\">{}</code></pre>\n\
         <button type=\"button\" data-copy=\"command\" hidden>Copy</button>\n</main>",
        html::escape(&command::fetch(url))
    )?;
    frame::end(&mut out)?;
    Ok(out)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => folder_page::size_in_words(bytes),
        _ => format!("{} ({} bytes)", folder_page::size_in_words(bytes), amount::grouped(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::transfer::source::identity::Stamp;

    fn page_of(path: &[u8], size: u64) -> String {
        let stamp = Stamp { seconds: 784_111_777, nanoseconds: 0 };
        let version = Version { size, mtime: stamp, ctime: stamp };
        String::from_utf8(page(path, "http://box:1/a/b", &version).unwrap()).unwrap()
    }

    #[test]
    fn a_file_s_page_shows_its_size_and_date_and_the_ways_to_fetch_it() {
        let text = page_of(b"/a/b c.txt", 1536);
        for part in [
            "<dd>1.5 KiB (1,536 bytes)</dd>",
            "<time datetime=\"1994-11-06T08:49Z\">1994-11-06 08:49</time>",
            "href=\"b%20c.txt\">Download</a>",
            "href=\"b%20c.txt?view\">View</a>",
            "<a href=\"./\">a</a>",
            "<code id=\"command\">./client http://box:1/a/b</code>",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!page_of(b"/a/b.iso", 1).contains("?view"));
    }

    #[test]
    fn a_name_is_only_text_in_a_file_s_page() {
        let text = page_of(b"/<i>/\"><script>alert(1)\xff\n", 1);
        assert_eq!(text.matches("<script>").count(), 1);
        assert!(text.contains("<title>&quot;&gt;&lt;script&gt;"), "{text}");
    }
}
