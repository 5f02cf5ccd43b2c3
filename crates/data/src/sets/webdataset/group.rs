//! Members that make one sample: neighbours with the same key, as webdataset groups them.

use std::io::Result;

use super::names;
use super::tar::{Broken, End, Member, ReadAt, Walk};

/// Neighbouring members with the same key.
pub(super) struct Group {
    /// What the names of the members have in common.
    pub(super) key: Vec<u8>,
    /// Where the first header of the first member begins.
    pub(super) start: u64,
    /// Where the bytes of the last member end.
    pub(super) end: u64,
    /// The first member of each extension.
    pub(super) parts: Vec<Part>,
    /// Names of members whose extension was there before; they do not count.
    pub(super) duplicates: Vec<String>,
    /// Names of links, devices and other members of this key that hold no bytes of their own.
    pub(super) without_bytes: Vec<String>,
    /// Where the archive breaks off within the group, or behind it before another one begins.
    pub(super) breaks: Option<Break>,
}

/// One member of a group.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Its extension in lower case.
    pub(super) extension: String,
    /// Where its bytes begin.
    pub(super) data: u64,
    /// How many there are.
    pub(super) size: u64,
}

/// How a group and the end of a broken archive meet.
pub(super) struct Break {
    /// The word for counts.
    pub(super) reason: &'static str,
    /// What was found.
    pub(super) problem: String,
    /// Whether a member of this group is cut; else nobody knows whether more members would have followed.
    pub(super) is_inside: bool,
}

impl Group {
    fn new(key: &[u8], start: u64) -> Self {
        Self {
            key: key.to_vec(),
            start,
            end: start,
            parts: Vec::new(),
            duplicates: Vec::new(),
            without_bytes: Vec::new(),
            breaks: None,
        }
    }

    /// The key as text; what is no UTF-8 in it is replaced.
    pub(super) fn key(&self) -> String {
        String::from_utf8_lossy(&self.key).into_owned()
    }

    /// The first of `extensions` that the group has.
    pub(super) fn first_of(&self, extensions: &[&str]) -> Option<&Part> {
        extensions.iter().find_map(|extension| self.part(extension))
    }

    pub(super) fn part(&self, extension: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.extension == extension)
    }

    fn add(&mut self, extension: &[u8], member: &Member) {
        let extension = String::from_utf8_lossy(extension).to_lowercase();
        self.end = member.end();
        if self.part(&extension).is_some() {
            self.duplicates
                .push(String::from_utf8_lossy(&member.name).into_owned());
            return;
        }
        self.parts.push(Part {
            extension,
            data: member.data,
            size: member.size,
        });
    }
}

/// The groups of an archive, one after the other.
pub(super) struct Groups<'a, Source> {
    walk: Walk<'a, Source>,
    open: Option<Group>,
    without_bytes: Option<(Vec<u8>, String)>,
    end: Option<End>,
}

impl<'a, Source: ReadAt> Groups<'a, Source> {
    /// Those from the header at `start` on.
    ///
    /// # Errors
    /// If the source cannot be read.
    pub(super) fn new(source: &'a Source, start: u64) -> Result<Self> {
        Ok(Self {
            walk: Walk::new(source, start)?,
            open: None,
            without_bytes: None,
            end: None,
        })
    }

    /// How the archive ended, once there are no more groups.
    pub(super) fn end(self) -> Option<End> {
        self.end
    }

    /// The next group.
    ///
    /// # Errors
    /// If the source cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Group>> {
        while self.end.is_none() {
            match self.walk.step()? {
                Ok(member) => {
                    if let Some(done) = self.take(&member) {
                        return Ok(Some(done));
                    }
                }
                Err(end) => {
                    let done = match &end {
                        End::Broken(broken) => self.break_off(broken),
                        _ => None,
                    };
                    self.end = Some(end);
                    if done.is_some() {
                        return Ok(done);
                    }
                }
            }
        }
        Ok(self.open.take())
    }

    /// Adds a member; gives the group that it does not belong to any more.
    fn take(&mut self, member: &Member) -> Option<Group> {
        if names::is_about_shard(&member.name) {
            return None;
        }
        let (key, extension) = names::split(&member.name)?;
        let is_of_open = self.open.as_ref().is_some_and(|open| open.key == key);
        if !member.is_file {
            let name = String::from_utf8_lossy(&member.name).into_owned();
            match self.open.as_mut().filter(|_| is_of_open) {
                Some(open) => open.without_bytes.push(name),
                None => self.without_bytes = Some((key.to_vec(), name)),
            }
            return None;
        }
        if let Some(open) = self.open.as_mut().filter(|_| is_of_open) {
            open.add(extension, member);
            return None;
        }
        let mut next = Group::new(key, member.start);
        next.add(extension, member);
        let before = self.without_bytes.take().filter(|(of, _)| of == key);
        next.without_bytes.extend(before.map(|(_, name)| name));
        self.open.replace(next)
    }

    /// Marks the group in which the archive breaks off; gives the one before, where that is whole.
    fn break_off(&mut self, broken: &Broken) -> Option<Group> {
        let key = broken.name.as_deref().and_then(names::split).map(|(key, _)| key);
        let is_inside = key.is_some();
        let done = match (&self.open, key) {
            (Some(open), Some(key)) if open.key != key => self.open.take(),
            _ => None,
        };
        if self.open.is_none()
            && let Some(key) = key
        {
            self.open = Some(Group::new(key, 0));
        }
        if let Some(open) = &mut self.open {
            open.breaks = Some(Break {
                reason: broken.reason,
                problem: broken.problem.clone(),
                is_inside,
            });
        }
        done
    }
}
