//! The keys that the transport adds to a message: the parent's process id and the number of
//! descriptors.
//!
//! ```text
//! {"parent":4711,"descriptors":2,...}     a job
//! {...,"descriptors":1}                   a later line with a descriptor
//! ```

#![forbid(unsafe_code)]

use super::fields::Fields;
use crate::codec::json::Value;
use crate::error::Result;

const PARENT: &str = "parent";
const DESCRIPTORS: &str = "descriptors";

/// The members of an object; none for any other value.
fn members(object: Value) -> Vec<(String, Value)> {
    match object {
        Value::Object(members) => members,
        _ => Vec::new(),
    }
}

/// The job of the process `parent`, with this many descriptors.
pub fn seal_job(parent: u32, descriptors: usize, job: Value) -> Value {
    let mut sealed = members(Value::object([
        (PARENT, Value::from_u64(parent.into())),
        (DESCRIPTORS, Value::from_u64(descriptors as u64)),
    ]));
    sealed.extend(members(job));
    Value::Object(sealed)
}

/// A later message with one descriptor.
pub fn seal_handed(message: Value) -> Value {
    let mut sealed = members(message);
    sealed.extend(members(Value::object([(DESCRIPTORS, Value::from_u64(1))])));
    Value::Object(sealed)
}

/// The process id of the parent that sent this job.
///
/// # Errors
/// The job lacks it.
pub fn parent(job: &Value) -> Result<u64> {
    Fields::of("job", job).number(PARENT)
}

/// How many descriptors come with this message; 0 without the key.
pub fn descriptors(message: &Value) -> u64 {
    message.get(DESCRIPTORS).and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_begins_with_its_parent_and_its_descriptors() {
        let sealed = seal_job(4711, 2, Value::object([("protocol", Value::from_u64(1))]));
        assert_eq!(sealed.to_string(), r#"{"parent":4711,"descriptors":2,"protocol":1}"#);
        assert_eq!((parent(&sealed).unwrap(), descriptors(&sealed)), (4711, 2));
    }

    #[test]
    fn a_later_message_ends_with_its_descriptor() {
        let plain = Value::object([("hello", Value::from("ff"))]);
        assert_eq!(descriptors(&plain), 0);
        let sealed = seal_handed(plain);
        assert_eq!(sealed.to_string(), r#"{"hello":"ff","descriptors":1}"#);
        assert_eq!(descriptors(&sealed), 1);
    }

    #[test]
    fn a_job_without_a_parent_is_an_error() {
        assert!(parent(&Value::object([])).unwrap_err().to_string().contains("'parent'"));
    }
}
