//! Fields as they stand in a header of HTTP/2 (RFC 7541), written so that nobody has to know what came
//! before: no table is used but the one that never changes, nothing is put into the other, and
//! strings stand as they are.

/// Puts a field behind what is there.
pub(super) fn put_field(name: &[u8], value: &[u8], block: &mut Vec<u8>) {
    block.push(NEVER_INDEXED);
    put_string(name, block);
    put_string(value, block);
}

/// Puts the status of an answer, with which its header begins.
pub(super) fn put_status(status: &str, block: &mut Vec<u8>) {
    block.push(NEVER_INDEXED | STATUS);
    put_string(status.as_bytes(), block);
}

fn put_string(text: &[u8], block: &mut Vec<u8>) {
    put_length(text.len(), block);
    block.extend_from_slice(text);
}

/// An integer with a prefix of seven bits (RFC 7541, section 5.1); the bit in front of it says that
/// the string is not compressed.
fn put_length(length: usize, block: &mut Vec<u8>) {
    let low = |number: usize| number.to_le_bytes()[0];
    let Some(mut rest) = length.checked_sub(PREFIX) else {
        block.push(low(length));
        return;
    };
    block.push(low(PREFIX));
    while rest >= 128 {
        block.push(low(rest) | 0x80);
        rest >>= 7;
    }
    block.push(low(rest));
}

/// A literal that no table keeps, with its name (section 6.2.3).
const NEVER_INDEXED: u8 = 0x10;
/// The place of `:status` in the table that never changes (appendix A).
const STATUS: u8 = 8;
/// What the prefix of a length can just not hold.
const PREFIX: usize = 127;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_by_the_letter() {
        let mut block = Vec::new();
        put_status("103", &mut block);
        put_field(b"link", b"</a>", &mut block);
        assert_eq!(block, b"\x18\x03103\x10\x04link\x04</a>");
    }

    #[test]
    fn lengths_are_written_as_the_standard_has_them() {
        let cases: [(usize, &[u8]); 5] = [
            (0, &[0]),
            (126, &[126]),
            (127, &[127, 0]),
            (1_337, &[127, 0b1011_1010, 9]),
            (16_384, &[127, 0b1000_0001, 0b0111_1111]),
        ];
        for (length, expected) in cases {
            let mut block = Vec::new();
            put_length(length, &mut block);
            assert_eq!(block, expected, "{length}");
        }
    }
}
