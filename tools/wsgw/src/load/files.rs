//! Where the report goes: files that are opened, and whose room is taken, before the run, so that a run is not for nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use wsgateway_load::report::Report;

use super::LoadError;
use crate::cli::Load;
use crate::error::Error;

/// Room that a new file takes on its disk before the run, and gives back when the report is written: more than the longest
/// report has, whose points over time are bounded.
const ROOM: u64 = 1 << 20;

/// A form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Markdown,
    Html,
}

/// The report's files.
#[derive(Debug)]
pub(super) struct Files(Vec<Output>);

#[derive(Debug)]
struct Output {
    form: Form,
    place: Place,
}

#[derive(Debug)]
enum Place {
    StandardOutput,
    /// A new file next to the one that is meant, which takes its name when it is whole: a full disk leaves the report of
    /// the last run as it is.
    New {
        path: PathBuf,
        part: PathBuf,
        file: File,
    },
    /// Something that is no regular file, such as a pipe.
    Other {
        path: PathBuf,
        file: File,
    },
}

impl Files {
    /// Opens what the flags name.
    pub(super) fn open(options: &Load) -> Result<Self, LoadError> {
        let flags = &options.result;
        let wanted = [
            (Form::Json, &flags.json),
            (Form::Markdown, &flags.markdown),
            (Form::Html, &flags.html),
        ];
        let mut outputs = Vec::new();
        for (form, path) in wanted {
            let Some(path) = path else { continue };
            let place = if path.as_os_str() == "-" { Place::StandardOutput } else { open(path)? };
            outputs.push(Output { form, place });
        }
        let standard = |output: &&Output| matches!(output.place, Place::StandardOutput);
        let first = outputs.iter().find(standard).map(|output| output.form);
        if first == Some(Form::Html) || outputs.iter().filter(standard).count() > 1 {
            return Err(LoadError::StandardOutput);
        }
        Ok(Self(outputs))
    }

    /// Whether standard output belongs to a form of the report.
    pub(super) fn use_standard_output(&self) -> bool {
        self.0.iter().any(|output| matches!(output.place, Place::StandardOutput))
    }

    /// Writes all; the first failure, after the others were written.
    pub(super) fn write(&self, report: &Report) -> Result<(), Error> {
        let mut outcome = Ok(());
        for Output { form, place } in &self.0 {
            let text = match form {
                Form::Json => report.json().map_err(io::Error::from),
                Form::Markdown => Ok(report.markdown()),
                Form::Html => Ok(report.html()),
            };
            let written = match place {
                Place::StandardOutput => {
                    text.map_err(Error::from).and_then(|t| crate::output::print(&t))
                }
                Place::New { path, part, file } => text
                    .and_then(|text| whole(file, &text, Some(text.len() as u64)))
                    .and_then(|()| std::fs::rename(part, path))
                    .map_err(|source| failed(path, source).into()),
                Place::Other { path, file } => text
                    .and_then(|text| whole(file, &text, None))
                    .map_err(|source| failed(path, source).into()),
            };
            outcome = outcome.and(written);
        }
        outcome
    }
}

/// What was not written is not left behind.
impl Drop for Place {
    fn drop(&mut self) {
        if let Self::New { part, .. } = self {
            // It has its name by now, or is of no use.
            let _ = std::fs::remove_file(part);
        }
    }
}

fn open(path: &Path) -> Result<Place, LoadError> {
    let failed = |source| failed(path, source);
    let regular = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        Ok(metadata) => metadata.is_file(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(failed(error)),
    };
    if !regular {
        let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        return Ok(Place::Other { path: path.to_owned(), file });
    }
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    let file = File::create_new(&part).map_err(failed)?;
    let place = Place::New { path: path.to_owned(), part, file };
    if let Place::New { file, .. } = &place {
        take_room(file).map_err(failed)?;
    }
    Ok(place)
}

/// Takes room on the disk, where it can be taken.
fn take_room(file: &File) -> io::Result<()> {
    use rustix::io::Errno;
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, ROOM) {
        // Not every filesystem knows how.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::INTR) => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// Writes a text, and cuts the file to its `length`, if it has one.
fn whole(mut file: &File, text: &str, length: Option<u64>) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    length.map_or(Ok(()), |length| file.set_len(length))?;
    match file.sync_all() {
        // A pipe has nothing to keep.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        outcome => outcome,
    }
}

fn failed(path: &Path, source: io::Error) -> LoadError {
    LoadError::Report { path: path.to_owned(), source }
}
