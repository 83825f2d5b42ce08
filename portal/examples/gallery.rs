//! Renders every page with sample values into a folder, to be looked at:
//! `cargo run -p portal --example gallery -- DIR`.

#[path = "../tests/sample/mod.rs"]
mod sample;

use std::{env, fs, path::PathBuf};

use portal::{CSS_PATH, Lang, Page, Portal, Theme, asset};
use sample::MOODS;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(env::args().nth(1).ok_or("usage: gallery DIR")?);
    fs::create_dir_all(&dir)?;
    let css = asset(CSS_PATH).ok_or("the style sheet is embedded")?;
    fs::write(dir.join("app.css"), css.bytes)?;
    fs::write(dir.join("favicon.svg"), asset("/favicon.svg").ok_or("embedded")?.bytes)?;
    let portal = Portal::new();
    for page in Page::ALL {
        for mood in MOODS {
            for (lang, theme) in [(Lang::En, Theme::Light), (Lang::ZhCn, Theme::Dark)] {
                let frame = sample::frame(lang, theme, page, mood);
                let html = portal.page(page, &sample::value(page, mood, ""), &frame)?;
                let html = html.replace(CSS_PATH, "app.css").replace("/favicon.ico", "favicon.svg");
                let name = format!("{}-{mood:?}-{}.html", page.id(), lang.as_str()).to_lowercase();
                fs::write(dir.join(name), html)?;
            }
        }
    }
    println!("{}", dir.display());
    Ok(())
}
