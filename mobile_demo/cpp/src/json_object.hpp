// Strict reading of JSON objects: every refusal names the field.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "segproof/error.hpp"

namespace segproof {

using Json = nlohmann::json;

// One object and where it stands. Unknown fields are refused at once, missing ones when they are read.
class JsonObject {
  public:
    JsonObject(const Json& value, std::string where, std::initializer_list<std::string_view> known)
        : value_(value), where_(std::move(where)) {
        if (!value.is_object()) refuse(where_, "an object", value);
        for (const auto& item : value.items()) {
            if (std::find(known.begin(), known.end(), item.key()) == known.end()) {
                throw Error(where_ + "." + one_line(item.key(), 60) + ": unknown field");
            }
        }
    }

    std::string path(std::string_view name) const { return where_ + "." + std::string(name); }
    bool has(std::string_view name) const { return value_.find(name) != value_.end(); }

    const Json& get(std::string_view name) const {
        const auto found = value_.find(name);
        if (found == value_.end()) throw Error(path(name) + ": missing field");
        return *found;
    }

    std::string text(std::string_view name) const { return to_text(get(name), path(name)); }

    std::int64_t integer(std::string_view name, std::int64_t low, std::int64_t high) const {
        return to_integer(get(name), path(name), low, high);
    }

    double number(std::string_view name) const { return to_number(get(name), path(name)); }

    bool truth(std::string_view name) const {
        const Json& value = get(name);
        if (!value.is_boolean()) refuse(path(name), "true or false", value);
        return value.get<bool>();
    }

    // The position of the field's text among `choices`.
    template <typename Choice>
    Choice choice(std::string_view name, std::initializer_list<std::pair<std::string_view, Choice>> choices) const {
        const Json& value = get(name);
        std::string wanted;
        for (const auto& [text, meaning] : choices) {
            if (value.is_string() && value.get_ref<const std::string&>() == text) return meaning;
            wanted += (wanted.empty() ? "one of " : ", ") + std::string(text);
        }
        refuse(path(name), wanted, value);
    }

    // Each entry of a list of `low` to `high` entries, as `read(entry, path)` makes it.
    template <typename Read>
    auto list(std::string_view name, std::size_t low, std::size_t high, Read read) const {
        return to_list(get(name), path(name), low, high, read);
    }

    static std::string to_text(const Json& value, const std::string& where) {
        if (!value.is_string()) refuse(where, "text", value);
        return value.get<std::string>();
    }

    static std::int64_t to_integer(const Json& value, const std::string& where, std::int64_t low, std::int64_t high) {
        // Beyond int64 there are unsigned values that would wrap.
        const bool fits = value.is_number_integer() &&
                          (!value.is_number_unsigned() ||
                           value.get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<std::int64_t>::max()});
        if (!fits || value.get<std::int64_t>() < low || value.get<std::int64_t>() > high) {
            refuse(where, "an integer from " + std::to_string(low) + " to " + std::to_string(high), value);
        }
        return value.get<std::int64_t>();
    }

    static double to_number(const Json& value, const std::string& where) {
        if (!value.is_number()) refuse(where, "a number", value);
        return value.get<double>();
    }

    template <typename Read>
    static auto to_list(const Json& value, const std::string& where, std::size_t low, std::size_t high, Read read) {
        if (!value.is_array()) refuse(where, "a list", value);
        if (value.size() < low || value.size() > high) {
            throw Error(where + ": expected " + std::to_string(low) +
                        (low == high ? "" : " to " + std::to_string(high)) + " entries, found " +
                        std::to_string(value.size()));
        }
        std::vector<decltype(read(value, where))> entries;
        for (std::size_t i = 0; i < value.size(); ++i) {
            entries.push_back(read(value[i], where + "[" + std::to_string(i) + "]"));
        }
        return entries;
    }

    [[noreturn]] static void refuse(const std::string& where, const std::string& wanted, const Json& found) {
        const std::string shown = found.is_structured() ? found.type_name() : found.dump();
        throw Error(where + ": expected " + wanted + ", found " + one_line(shown, 60));
    }

  private:
    const Json& value_;
    std::string where_;
};

}  // namespace segproof
