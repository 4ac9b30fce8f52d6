//! The corpus between runs is one file with a line each; libFuzzer works with a file each.
//! `corpus unpack FILE FOLDER` and `corpus pack FOLDER FILE`.

#[path = "lines.rs"]
mod lines;

use std::collections::BTreeSet;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["unpack", file, folder] => unpack(file, folder),
        ["pack", folder, file] => pack(folder, file),
        _ => Err(io::Error::other("corpus unpack FILE FOLDER, or corpus pack FOLDER FILE")),
    }
}

fn unpack(file: &str, folder: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (number, line) in fs::read_to_string(file)?.lines().enumerate() {
        fs::write(format!("{folder}/{number:04}"), lines::unescape(line))?;
    }
    Ok(())
}

fn pack(folder: &str, file: &str) -> io::Result<()> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        all.insert(lines::escape(&fs::read(entry?.path())?));
    }
    all.remove("");
    fs::write(file, all.into_iter().map(|line| line + "\n").collect::<String>())
}
