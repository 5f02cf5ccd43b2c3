//! Parquet files of data sets: what is read, and what becomes of damaged ones.

use std::fs;
use std::sync::Arc;

use blip2_data::sets::{Answer, DataSpec, Picture, Question, Sample};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::sets::{Place, opened, samples};

/// A Parquet file with one byte changed, or cut short, gives samples or errors.
#[test]
fn damaged_parquet_files_are_survived() {
    let place = Place::new();
    let whole = parquet_file(&fs::read(place.path("outside.png")).expect("a picture"));
    let spec = DataSpec::new("parquet", place.write("whole.parquet", &whole));
    let read = samples(&spec);
    assert_eq!(read[0].as_ref().expect("a sample").texts, ["first"]);
    assert_eq!(read[1].as_ref().expect_err("no text").reason, "text_null");
    assert_eq!(read[2].as_ref().expect("a sample").key, "whole:2");
    let mut refused = 0;
    let mut survive = |bytes: &[u8]| {
        let spec = DataSpec::new("parquet", place.write("damaged.parquet", bytes));
        match opened(&spec) {
            Ok(set) => (0..set.len().min(100)).for_each(|index| {
                let picture = |sample: Sample| matches!(sample.picture, Picture::Encoded(_));
                assert!(set.read(index).is_ok_and(picture) || set.read(index).is_err());
            }),
            Err(_) => refused += 1,
        }
    };
    for place in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0xff;
        survive(&damaged);
    }
    // The header of the first page, in which another kind of page asks for fields that are not there.
    for place in 4..64 {
        for bits in [0x02, 0x04, 0x06, 0x10, 0x30] {
            let mut damaged = whole.clone();
            damaged[place] ^= bits;
            survive(&damaged);
        }
    }
    for length in (0..whole.len()).step_by(97) {
        survive(&whole[..length]);
    }
    assert!(refused > whole.len() / 97, "{refused}");
}

#[test]
fn parquet_files_hold_questions() {
    let place = Place::new();
    let png = fs::read(place.path("outside.png")).expect("a picture");
    let schema =
        "message schema { required binary image; required int64 question_id; required binary question (utf8);
        optional group answers (LIST) { repeated group list { optional group element {
            optional binary answer (utf8); optional int64 answer_id; } } } }";
    let schema = parse_message_type(schema).expect("a schema").into();
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).expect("a file");
    let mut group = file.next_row_group().expect("a group");
    let texts = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| ByteArray::from(*text))
            .collect::<Vec<_>>()
    };
    // Two rows: three answers, and none.
    let (filled, repeated) = ([4, 4, 4, 0], [0, 1, 1, 0]);
    let mut place_of = 0;
    while let Some(mut column) = group.next_column().expect("columns") {
        match place_of {
            0 => column.typed::<ByteArrayType>().write_batch(
                &vec![ByteArray::from(png.as_slice()); 2],
                None,
                None,
            ),
            1 => column.typed::<Int64Type>().write_batch(&[70, 71], None, None),
            2 => column
                .typed::<ByteArrayType>()
                .write_batch(&texts(&["what?", "where?"]), None, None),
            3 => column.typed::<ByteArrayType>().write_batch(
                &texts(&["x", "Y", "x"]),
                Some(&filled),
                Some(&repeated),
            ),
            _ => column
                .typed::<Int64Type>()
                .write_batch(&[1, 2, 3], Some(&filled), Some(&repeated)),
        }
        .expect("room");
        column.close().expect("whole");
        place_of += 1;
    }
    group.close().expect("whole");
    let spec = DataSpec::new(
        "parquet",
        place.write("questions.parquet", file.into_inner().expect("whole")),
    );
    let read = samples(&spec);
    let questions: Vec<Question> = read
        .into_iter()
        .map(|sample| sample.expect("a sample").question.expect("a question"))
        .collect();
    let answer = |text: &str, count| Answer {
        text: text.to_owned(),
        count,
    };
    let question = |id: &str, text: &str, answers| Question {
        id: id.to_owned(),
        text: text.to_owned(),
        answers,
    };
    let answers = vec![answer("x", 2.0), answer("Y", 1.0)];
    assert_eq!(
        questions,
        [
            question("70", "what?", answers),
            question("71", "where?", Vec::new())
        ]
    );
}

/// Three rows in two row groups: the picture `png`, with a text, null, and a text.
fn parquet_file(png: &[u8]) -> Vec<u8> {
    let schema = "message schema { required binary image; optional binary text (utf8); }";
    let schema = parse_message_type(schema).expect("a schema").into();
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).expect("a file");
    for texts in [&[Some("first"), None][..], &[Some("third")]] {
        let mut group = file.next_row_group().expect("a group");
        let pictures = vec![ByteArray::from(png); texts.len()];
        let levels: Vec<i16> = texts.iter().map(|text| i16::from(text.is_some())).collect();
        let texts: Vec<ByteArray> = texts
            .iter()
            .flatten()
            .map(|text| ByteArray::from(*text))
            .collect();
        for (values, levels) in [(&pictures, None), (&texts, Some(&levels[..]))] {
            let mut column = group.next_column().expect("a column").expect("two of them");
            let writer = column.typed::<ByteArrayType>();
            writer.write_batch(values, levels, None).expect("room");
            column.close().expect("whole");
        }
        group.close().expect("whole");
    }
    file.into_inner().expect("whole")
}
