//! A handler that does to files whatever it is told to, by commands in its payload, one a line,
//! so that every rule of `fs` can be obeyed and violated on real guest code. Its output has one
//! line for each command. Nothing here is an example to follow.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::time::{Duration, SystemTime};

use bulkhead_guest::prelude::*;

plugin!(file, file_together);

/// Follows commands, one a line.
#[handler]
fn file(commands: String) -> Result<String, Failure> {
    follow_all(&commands)
}

/// Follows the commands of several tasks.
#[handler(batch = 8)]
fn file_together(commands: Vec<String>, _tasks: &[Task]) -> Vec<Result<String, Failure>> {
    commands.iter().map(|commands| follow_all(commands)).collect()
}

fn follow_all(commands: &str) -> Result<String, Failure> {
    let answers: Result<Vec<String>, Failure> = commands.lines().map(follow).collect();
    Ok(answers?.join("\n"))
}

fn follow(command: &str) -> Result<String, Failure> {
    let words: Vec<&str> = command.split(' ').collect();
    if let ["sleep" | "panic", ..] = words[..] {
        return stop(words[0]);
    }
    Ok(match act(&words) {
        Ok(said) => said,
        Err(error) => {
            format!("error {:?} {}", error.kind(), error.raw_os_error().unwrap_or_default())
        }
    })
}

#[allow(clippy::panic, reason = "this is what it is for")]
fn stop(how: &str) -> Result<String, Failure> {
    if how == "panic" {
        panic!("as asked");
    }
    std::thread::sleep(Duration::from_secs(600));
    Err(Failure::permanent("nobody stopped it"))
}

fn number(text: &str) -> io::Result<u64> {
    text.parse().map_err(io::Error::other)
}

fn bytes(text: &str) -> io::Result<Vec<u8>> {
    Ok(vec![b'x'; usize::try_from(number(text)?).map_err(io::Error::other)?])
}

fn act(words: &[&str]) -> io::Result<String> {
    let done = |()| "ok".to_owned();
    match *words {
        ["write", path, count] => fs::write(path, bytes(count)?).map(done),
        ["say", path, text] => fs::write(path, text).map(done),
        ["append", path, count] => {
            OpenOptions::new().append(true).open(path)?.write_all(&bytes(count)?).map(done)
        }
        ["at", path, place, count] => {
            let mut file = OpenOptions::new().write(true).open(path)?;
            file.seek(SeekFrom::Start(number(place)?))?;
            file.write_all(&bytes(count)?).map(done)
        }
        ["size", path, wanted] => {
            let mut options = OpenOptions::new();
            let file = options.write(true).create(true).truncate(false).open(path)?;
            file.set_len(number(wanted)?).map(done)
        }
        ["new", path] => File::create_new(path).map(|_| "ok".to_owned()),
        ["read", path] => fs::read_to_string(path),
        ["read-some", path] => {
            let mut some = [0; 16];
            File::open(path)?.read(&mut some).map(|count| count.to_string())
        }
        ["len", path] => Ok(fs::metadata(path)?.len().to_string()),
        ["mkdir", path] => fs::create_dir(path).map(done),
        ["mkdir-all", path] => fs::create_dir_all(path).map(done),
        ["rmdir", path] => fs::remove_dir(path).map(done),
        ["rm", path] => fs::remove_file(path).map(done),
        ["mv", from, to] => fs::rename(from, to).map(done),
        ["link", from, to] => fs::hard_link(from, to).map(done),
        #[allow(deprecated, reason = "the stable way to make one on this target")]
        ["symlink", from, to] => fs::soft_link(from, to).map(done),
        ["readlink", path] => Ok(fs::read_link(path)?.display().to_string()),
        ["list", path] => list(path),
        ["count", path] => Ok(fs::read_dir(path)?.count().to_string()),
        ["many", folder, wanted] => many(folder, number(wanted)?),
        ["touch", path] => {
            File::options().write(true).open(path)?.set_modified(SystemTime::UNIX_EPOCH).map(done)
        }
        ["open", path, wanted] => open(path, number(wanted)?),
        ["hold", path, wanted, count] => hold(path, number(wanted)?, &bytes(count)?),
        ["long", folder, count] => File::open(format!(
            "{folder}/{}",
            "a/".repeat(usize::try_from(number(count)?).map_err(io::Error::other)?,)
        ))
        .map(|_| "ok".to_owned()),
        _ => Err(io::Error::other("no such command")),
    }
}

fn list(path: &str) -> io::Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names.join(","))
}

/// Make so many empty files; how many there are before the first error, and the error.
fn many(folder: &str, wanted: u64) -> io::Result<String> {
    for made in 0..wanted {
        if let Err(error) = File::create(format!("{folder}/many-{made}")) {
            return Ok(format!("{made} then {:?}", error.kind()));
        }
    }
    Ok(wanted.to_string())
}

/// Write a file and remove it while it is open, again and again; how often before the first
/// error, and the error.
fn hold(path: &str, wanted: u64, data: &[u8]) -> io::Result<String> {
    let mut held = Vec::new();
    for made in 0..wanted {
        let mut file = File::create(path)?;
        if let Err(error) = file.write_all(data) {
            return Ok(format!("{made} then {:?}", error.kind()));
        }
        fs::remove_file(path)?;
        held.push(file);
    }
    Ok(wanted.to_string())
}

/// Open a file again and again; how often before the first error, and the error.
fn open(path: &str, wanted: u64) -> io::Result<String> {
    let mut held = Vec::new();
    for made in 0..wanted {
        match File::open(path) {
            Ok(mut file) => {
                // So that there is a stream of it too.
                let _ = file.read(&mut [0])?;
                held.push(file);
            }
            Err(error) => return Ok(format!("{made} then {:?}", error.kind())),
        }
    }
    Ok(wanted.to_string())
}
