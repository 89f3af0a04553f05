import type { DocumentParser } from '../../ports/document-parser.ts';
import { openSchemas, type Schemas } from '../schema/open-schemas.ts';
import { parseComposeFile } from './parse-compose.ts';
import { parseFile } from './parse-documents.ts';

/** Reads declarations and Compose files. @param schemas those of this package by default */
export function createDocumentParser(schemas: Pick<Schemas, 'validateDocument'> = openSchemas()): DocumentParser {
  return { parseFile: (file) => parseFile(file, schemas), parseCompose: parseComposeFile };
}
