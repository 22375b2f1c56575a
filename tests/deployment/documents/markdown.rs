//! What of a document is of interest here: blocks of code, code in lines, links and headings.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

pub(crate) struct Document {
    pub(crate) file: String,
    pub(crate) blocks: Vec<Block>,
    /// Code within lines.
    pub(crate) code: Vec<String>,
    /// Where links lead.
    pub(crate) links: Vec<String>,
    /// Names of headings, as links call them.
    pub(crate) anchors: Vec<String>,
}

/// Code between fences.
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) text: String,
    /// Where it begins.
    pub(crate) line: usize,
}

impl Block {
    /// Whether it is to be typed: `sh` is done line by line, `console` shows what is answered.
    pub(crate) fn is_commands(&self) -> bool {
        ["sh", "bash", "console"].contains(&self.language.as_str())
    }
}

impl Document {
    pub(crate) fn read(file: &str) -> Self {
        let text = crate::read(file);
        let mut document = Self {
            file: file.to_owned(),
            blocks: Vec::new(),
            code: Vec::new(),
            links: Vec::new(),
            anchors: Vec::new(),
        };
        let (mut block, mut heading) = (None, None);
        let events = Parser::new_ext(&text, Options::ENABLE_TABLES).into_offset_iter();
        for (event, place) in events {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    let line = text[..place.start].lines().count() + 1;
                    block =
                        Some(Block { language: language.to_string(), text: String::new(), line });
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => {
                    panic!("{file}: a block without a language: {}", &text[place]);
                }
                Event::End(TagEnd::CodeBlock) => document.blocks.extend(block.take()),
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    document.anchors.extend(heading.take().map(|it| anchor(&it)));
                }
                Event::Start(Tag::Link { dest_url, .. }) => {
                    document.links.push(dest_url.to_string());
                }
                Event::Text(piece) => {
                    if let Some(block) = &mut block {
                        block.text.push_str(&piece);
                    } else if let Some(heading) = &mut heading {
                        heading.push_str(&piece);
                    }
                }
                Event::Code(code) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                    document.code.push(code.to_string());
                }
                _ => {}
            }
        }
        document
    }
}

/// As GitHub calls a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}
