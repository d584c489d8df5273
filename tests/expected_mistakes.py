"""What loading each file of broken_tasks/ must say: in which file, on which line, and a part of the message."""

from __future__ import annotations

EXPECTED: dict[str, list[tuple[str, int, str]]] = {
    "unknown_key.toml": [("unknown_key.toml", 4, "seed: no such key. Did you mean 'seeds'?")],
    "unknown_key_in_table.toml": [
        ("unknown_key_in_table.toml", 18, "measure.batchs: no such key. Did you mean 'batches'?")
    ],
    "unknown_key_far_from_all.toml": [
        ("unknown_key_far_from_all.toml", 6, "favourite_colour: no such key. Known: dataset, description,")
    ],
    "misspelt_required_key.toml": [
        ("misspelt_required_key.toml", 9, "dataset.subst: no such key. Did you mean 'subset'?")
    ],
    "missing_title.toml": [("missing_title.toml", 1, "title: is missing")],
    "missing_subset.toml": [("missing_subset.toml", 7, "dataset.subset: is missing")],
    "version_is_a_string.toml": [
        ("version_is_a_string.toml", 1, "version: found '1' (a string); a whole number would be right.")
    ],
    "version_is_a_fraction.toml": [
        ("version_is_a_fraction.toml", 1, "version: found 1.5 (a number); a whole number would be right.")
    ],
    "version_is_a_boolean.toml": [
        ("version_is_a_boolean.toml", 1, "version: found true; a whole number would be right.")
    ],
    "title_is_a_date.toml": [
        ("title_is_a_date.toml", 2, "title: found 2026-11-21 (a date or time); a string would be right.")
    ],
    "title_is_empty.toml": [("title_is_empty.toml", 2, "title: must not be empty")],
    "table_expected.toml": [("table_expected.toml", 3, "quality: found 'top1' (a string); a table would be right.")],
    "array_expected.toml": [("array_expected.toml", 5, "profiles: found 'cpu-1' (a string); an array would be right.")],
    "target_is_a_percentage.toml": [
        ("target_is_a_percentage.toml", 3, "quality.at_least: found 91.0 (a number); at most 1")
    ],
    "target_is_not_a_number.toml": [
        ("target_is_not_a_number.toml", 3, "quality.at_least: found nan (a number); a finite number")
    ],
    "unknown_metric.toml": [("unknown_metric.toml", 3, "quality.metric: unknown metric 'top_1'. Did you mean 'top1'?")],
    "metric_of_speed.toml": [
        ("metric_of_speed.toml", 3, "quality.metric: 'latency' is a metric of speed, not of quality")
    ],
    "unknown_profile.toml": [("unknown_profile.toml", 7, "profiles[1]: unknown profile 'cpu-one'. Did you mean 'cpu-")],
    "unknown_model.toml": [
        ("unknown_model.toml", 14, "model.name: unknown model 'cifar-resnet-20'. Did you mean 'cifar-resnet20'?")
    ],
    "unknown_dataset.toml": [
        ("unknown_dataset.toml", 8, "dataset.name: unknown dataset 'cifar-10'. Did you mean 'cifar10'?")
    ],
    "unknown_subset.toml": [
        ("unknown_subset.toml", 9, "dataset.subset: no split 'tests' in dataset 'digits' and no list ")
    ],
    "list_with_a_double.toml": [("twice.txt", 4, "'digits/0001' was listed in line 2 already")],
    "list_without_ids.toml": [("empty.txt", 1, "lists no image ids")],
    "list_with_blanks.toml": [("blanks.txt", 1, "one id a line")],
    "calibration_shares_test_images.toml": [
        ("calibration_shares_test_images.toml", 11, "dataset.calibration: shares 1 images, 'digits/0003' among them")
    ],
    "subset_leads_out_of_the_folder.toml": [
        (
            "subset_leads_out_of_the_folder.toml",
            9,
            "dataset.subset: found '../quick/test' (a string); a string that matches",
        )
    ],
    "negative_seed.toml": [("negative_seed.toml", 4, "seeds[1]: found -1 (a whole number); at least 0")],
    "same_seed_twice.toml": [("same_seed_twice.toml", 4, "seeds: 0 is given twice")],
    "batches_descend.toml": [
        ("batches_descend.toml", 18, "measure.batches: must ascend without repeats: [1, 32] would be right")
    ],
    "no_batches.toml": [("no_batches.toml", 18, "measure.batches: must not be empty")],
    "unknown_budget.toml": [
        (
            "unknown_budget.toml",
            19,
            "measure.budget: found 'standart' (a string); 'none', 'smoke', 'quick', 'standard' or 'release' would be "
            "right.",
        )
    ],
    "weights_and_train.toml": [
        ("weights_and_train.toml", 13, "model: needs exactly one of 'weights' and 'train', found both")
    ],
    "weights_of_two_kinds.toml": [
        (
            "weights_of_two_kinds.toml",
            15,
            "model.weights: needs either 'file' and 'sha256' or 'enum', found 'file' and 'enum'",
        )
    ],
    "file_beside_a_name.toml": [
        ("file_beside_a_name.toml", 13, "model: needs exactly one of 'name' and 'file', found both"),
        ("file_beside_a_name.toml", 15, "model.file: 'net.onnx': no such file, looked at "),
    ],
    "file_is_missing.toml": [("file_is_missing.toml", 14, "model.file: 'net.onnx': no such file, looked at ")],
    "file_of_another_kind.toml": [
        ("file_of_another_kind.toml", 14, "model.file: found 'net.pth' (a string); a string that matches")
    ],
    "file_with_weights.toml": [
        ("file_with_weights.toml", 13, "model: a file holds its weights: 'weights' must not stand beside 'file'"),
        ("file_with_weights.toml", 14, "model.file: 'other.onnx': no such file, looked at "),
    ],
    "module_is_missing.toml": [
        ("module_is_missing.toml", 14, "model.name: can't import 'nonet': there is no such module beside this file")
    ],
    "module_without_a_function.toml": [
        ("module_without_a_function.toml", 14, "model.name: 'nonet:': 'module:function',")
    ],
    "no_weights.toml": [("no_weights.toml", 13, "model: needs exactly one of 'weights' and 'train', found neither")],
    "digest_is_short.toml": [
        ("digest_is_short.toml", 15, "model.weights.sha256: found 'abc' (a string); a string that matches")
    ],
    "three_means_for_no_channel.toml": [
        (
            "three_means_for_no_channel.toml",
            18,
            "preprocess.mean: found 2 numbers; 1 number, or 3, one for each channel, would be right",
        )
    ],
    "std_is_zero.toml": [("std_is_zero.toml", 18, "preprocess.std[0]: found 0.0 (a number); more than 0")],
    "recipe_named_baseline.toml": [("recipe_named_baseline.toml", 21, "recipes.baseline: this is the model as it is")],
    "recipe_with_a_bad_name.toml": [("recipe_with_a_bad_name.toml", 21, "recipes.'INT 8': a recipe's name is made of")],
    "recipe_without_steps.toml": [("recipe_without_steps.toml", 22, "recipes.int8.steps: must not be empty")],
    "unknown_technique.toml": [
        (
            "unknown_technique.toml",
            23,
            "recipes.int8.steps[0].technique: unknown technique 'quantise.static'. Did you mean 'quantize.static'?",
        )
    ],
    "technique_missing.toml": [("technique_missing.toml", 23, "recipes.int8.steps[0].technique: is missing")],
    "unknown_parameter.toml": [
        ("unknown_parameter.toml", 23, "recipes.int8.steps[0].per_chanel: no such key. Did you mean 'per_channel'?")
    ],
    "parameter_of_another_type.toml": [
        (
            "parameter_of_another_type.toml",
            23,
            "recipes.int8.steps[0].per_channel: found 'yes' (a string); true or false",
        )
    ],
    "parameter_is_no_choice.toml": [
        (
            "parameter_is_no_choice.toml",
            23,
            "recipes.int8.steps[0].calibrate: found 'minimax' (a string); 'minmax', 'entropy' or 'percentile'",
        )
    ],
    "parameter_out_of_range.toml": [
        ("parameter_out_of_range.toml", 23, "recipes.int8.steps[0].sparsity: found 1.5 (a number); less than 1")
    ],
    "parameter_is_missing.toml": [("parameter_is_missing.toml", 23, "recipes.int8.steps[0].epochs: is missing")],
    "no_runtime_for_a_graph.toml": [
        (
            "no_runtime_for_a_graph.toml",
            23,
            'leaves an ONNX graph, which torch can\'t run; end with { technique = "run.onnxruntime" }',
        )
    ],
    "torch_step_after_a_graph.toml": [
        (
            "torch_step_after_a_graph.toml",
            24,
            "recipes.int8.steps[1]: works on a torch model, but step 1 (quantize.static) left an ONNX graph",
        )
    ],
    "two_runtimes.toml": [
        ("two_runtimes.toml", 24, "recipes.int8.steps[1]: chooses a runtime, but step 1 (run.compile) did so already")
    ],
    "runtime_before_the_end.toml": [
        (
            "runtime_before_the_end.toml",
            24,
            "recipes.int8.steps[1]: comes after step 1 (run.onnxruntime), which chooses the runtime",
        )
    ],
    "no_calibration_images.toml": [
        (
            "no_calibration_images.toml",
            22,
            "recipes.int8.steps[0]: needs calibration images; name some as 'calibration' under [dataset]",
        )
    ],
    "extends_nothing.toml": [("extends_nothing.toml", 2, "extends: 'nowhere.toml': no such file")],
    "extends_itself.toml": [("extends_itself.toml", 1, "extends: 'extends_itself.toml' leads back to this file")],
    "extends_with_a_mistake.toml": [
        ("extends_with_a_mistake.toml", 4, "measure.budgt: no such key. Did you mean 'budget'?")
    ],
    "mistake_in_its_base.toml": [("unknown_key.toml", 4, "seed: no such key")],
    "bracket_not_closed.toml": [("bracket_not_closed.toml", 19, "not TOML at column")],
    "text_without_quotes.toml": [("text_without_quotes.toml", 2, "not TOML at column 9: invalid value")],
    "key_given_twice.toml": [("key_given_twice.toml", 3, "a key or table is given for the second time")],
    "table_given_twice.toml": [("table_given_twice.toml", 17, "a key or table is given for the second time")],
    "quote_not_closed.toml": [("quote_not_closed.toml", 2, "not TOML")],
    "latin1.toml": [("latin1.toml", 2, "byte 0xe9 is not UTF-8")],
    "nothing_in_it.toml": [("nothing_in_it.toml", 1, "is empty")],
    "picture.toml": [("picture.toml", 1, "byte 0x89 is not UTF-8")],
    "nested_a_thousand_deep.toml": [("nested_a_thousand_deep.toml", 2, "nested more than 24 levels deep")],
    "dots_a_thousand_deep.toml": [("dots_a_thousand_deep.toml", 2, "nested more than 24 levels deep")],
    "number_of_5000_digits.toml": [("number_of_5000_digits.toml", 1, "a number of thousands of digits")],
    "number_of_70_bits.toml": [("number_of_70_bits.toml", 1, "version: a whole number of more than 64 bits")],
    "ablate_is_a_string.toml": [
        ("ablate_is_a_string.toml", 22, "recipes.int8.ablate: found 'yes' (a string); true or false would be right.")
    ],
    "ablate_of_one_technique.toml": [
        (
            "ablate_of_one_technique.toml",
            26,
            "recipes.int8.ablate: an ablation tells two techniques or more apart, found 1",
        )
    ],
    "ablate_misspelt.toml": [
        ("ablate_misspelt.toml", 26, "recipes.int8.ablation: no such key. Did you mean 'ablate'?")
    ],
    "eight_mistakes_at_once.toml": [
        ("eight_mistakes_at_once.toml", 1, "version: found '1'"),
        ("eight_mistakes_at_once.toml", 4, "seed: no such key"),
        ("eight_mistakes_at_once.toml", 5, "profiles[0]: unknown profile 'cpu'"),
        ("eight_mistakes_at_once.toml", 14, "model.name: unknown model 'resnet8'"),
        ("eight_mistakes_at_once.toml", 18, "measure.batches[0]: found 0"),
        ("eight_mistakes_at_once.toml", 23, "unknown technique 'quantize.statik'"),
        ("eight_mistakes_at_once.toml", 24, "threads: no such key"),
        ("eight_mistakes_at_once.toml", 24, "speed: no such key"),
    ],
}
