//! Certificates and private keys in PEM, read as the collector's library does.
//!
//! Owns which texts hold a certificate or a key that the library takes. Never looks at who signed one or until when it is valid: that is decided
//! where it is used.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One block of a PEM text.
struct Block<'a> {
    label: &'a str,
    /// `None` where the text between the lines is no base64.
    content: Option<Vec<u8>>,
}

/// Every block that has a beginning and an end, at the beginning of lines.
fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in text.lines() {
        let bare = line.trim_end();
        if let Some(label) = bare.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) {
            open = Some((label, String::new()));
        } else if let Some(label) = bare.strip_prefix("-----END ").and_then(|rest| rest.strip_suffix("-----")) {
            if let Some((begun, body)) = open.take().filter(|(begun, _)| *begun == label) {
                found.push(Block { label: begun, content: STANDARD.decode(body).ok() });
            }
        } else if let Some((_, body)) = &mut open {
            // Older keys have lines such as `Proc-Type: …` in front.
            if !bare.contains(':') {
                body.extend(bare.chars().filter(|c| !c.is_whitespace()));
            }
        }
    }
    found
}

/// The first element of a DER text: its tag, its content, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..=127 => (short, rest),
        long => {
            let (digits, rest) =
                rest.split_at_checked(long - 128).filter(|(digits, _)| (1..=4).contains(&digits.len()))?;
            (digits.iter().fold(0, |length, digit| length * 256 + usize::from(*digit)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// The content of a sequence that is all of the bytes.
fn sequence(bytes: &[u8]) -> Option<&[u8]> {
    element(bytes).filter(|(tag, _, rest)| *tag == SEQUENCE && rest.is_empty()).map(|(_, content, _)| content)
}

/// Whether the bytes have the shape of a certificate: what is certified, an algorithm, a signature.
fn is_certificate(bytes: &[u8]) -> bool {
    let parts = |content| {
        let (certified, _, rest) = element(content)?;
        let (algorithm, _, rest) = element(rest)?;
        let (signature, _, rest) = element(rest)?;
        Some((certified, algorithm, signature) == (SEQUENCE, SEQUENCE, BIT_STRING) && rest.is_empty())
    };
    sequence(bytes).and_then(parts).unwrap_or_default()
}

/// Why a text holds no certificate that a collector would read.
#[must_use]
pub fn certificate_problem(text: &str) -> Option<&'static str> {
    let blocks = blocks(text);
    let mut certificates = blocks.iter().filter(|block| block.label == "CERTIFICATE").peekable();
    if certificates.peek().is_none() {
        return Some(match text.contains("PRIVATE KEY-----") {
            true => "it holds a private key and no certificate (-----BEGIN CERTIFICATE----- …)",
            false if text.contains("-----BEGIN CERTIFICATE-----") => {
                "it is not a whole PEM certificate: the lines -----BEGIN CERTIFICATE----- and -----END CERTIFICATE----- must stand alone, without blanks in front"
            }
            false => "it is not a PEM certificate (-----BEGIN CERTIFICATE----- …)",
        });
    }
    let is_whole = |block: &Block<'_>| block.content.as_deref().is_some_and(is_certificate);
    (!certificates.any(is_whole))
        .then_some("what it holds between BEGIN and END is not a certificate; copy the whole file")
}

/// Why a text holds no private key that a collector would read.
#[must_use]
pub fn private_key_problem(text: &str) -> Option<&'static str> {
    let blocks = blocks(text);
    if text.contains("ENCRYPTED") {
        return Some("the private key is encrypted, and a collector has no password for it; write it without one");
    }
    let Some(key) = blocks.iter().find(|block| block.label == "PRIVATE KEY" || block.label.ends_with(" PRIVATE KEY"))
    else {
        return Some("it is not a PEM private key (-----BEGIN PRIVATE KEY----- …)");
    };
    let is_whole = key.content.as_deref().and_then(sequence).is_some();
    (!is_whole).then_some("what it holds between BEGIN and END is not a private key; copy the whole file")
}

/// PEM text with at least one certificate.
///
/// # Errors
/// When no certificate in it is whole.
pub fn pem(text: &str) -> Result<String, String> {
    certificate_problem(text).map_or_else(|| Ok(text.to_owned()), |why| Err(why.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::CERTIFICATE;

    /// A key with the shape of one, and no secret.
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMAUCAQAwAA==\n-----END PRIVATE KEY-----\n";

    #[test]
    fn certificates_are_read_as_the_collector_reads_them() {
        let indented = CERTIFICATE.replace('\n', "\n  ");
        let one_line = CERTIFICATE.replace('\n', "\\n");
        let cut: String =
            CERTIFICATE.lines().enumerate().filter(|(n, _)| *n != 3).map(|(_, line)| format!("{line}\n")).collect();
        for (text, is_taken) in [
            (CERTIFICATE.to_owned(), true),
            (CERTIFICATE.replace('\n', "\r\n"), true),
            (format!("# of the shop\n{CERTIFICATE}{CERTIFICATE}"), true),
            (format!("{KEY}{CERTIFICATE}"), true),
            (format!("  {indented}"), false),
            (one_line, false),
            (cut, false),
            (KEY.to_owned(), false),
            ("junk".to_owned(), false),
            ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_owned(), false),
            ("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----".to_owned(), false),
            (CERTIFICATE.replace("-----END CERTIFICATE-----", ""), false),
        ] {
            assert_eq!(pem(&text).is_ok(), is_taken, "{text}: {:?}", pem(&text));
        }
    }

    #[test]
    fn private_keys_are_refused_where_nobody_could_read_them() {
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAUCAQAwAA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let legacy =
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMAUCAQAwAA==\n-----END RSA PRIVATE KEY-----\n";
        for (text, is_taken) in [
            (KEY.to_owned(), true),
            (KEY.replace("PRIVATE", "EC PRIVATE"), true),
            (format!("{CERTIFICATE}{KEY}"), true),
            (CERTIFICATE.to_owned(), false),
            (encrypted.to_owned(), false),
            (legacy.to_owned(), false),
            (KEY.replace("MAUC", "XXXX"), false),
            ("x".to_owned(), false),
        ] {
            assert_eq!(private_key_problem(&text).is_none(), is_taken, "{text}");
        }
    }
}
